//! API keys: `bm_` and 64 hex digits, printed once, stored as a hash only. A key's id names it.

use std::{fmt, str::FromStr};

use bematic_protocol::{ids::InvalidId, time::Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// An agent's secret key. It cannot be printed by accident.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    const PREFIX: &str = "bm_";

    /// Creates a key from 32 bytes of a cryptographic random source.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(format!("{}{}", Self::PREFIX, hex::encode(bytes)).into())
    }

    /// Returns the hash that is stored in place of the key.
    pub fn hash(&self) -> KeyHash {
        KeyHash(hex::encode(Sha256::digest(self.0.expose_secret())))
    }

    /// Returns the key itself, to be shown to its owner once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for ApiKey {
    type Err = ();

    /// Parses a key. The error has no content, so that nothing of a mistyped key can leak.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix(Self::PREFIX).ok_or(())?;
        let is_valid = digits.len() == 64 && digits.bytes().all(is_lowercase_hex);
        is_valid.then(|| Self(text.into())).ok_or(())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(bm_…)")
    }
}

/// The SHA-256 of a key, in hex. The key has 256 random bits, so a slow hash would add nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyHash(String);

impl KeyHash {
    /// Returns the hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the key.
    pub fn key_id(&self) -> KeyId {
        KeyId(self.0.chars().take(KeyId::DIGITS).collect())
    }
}

impl TryFrom<String> for KeyHash {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let is_valid = text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit());
        let invalid = InvalidId("key hash", "64 hex digits");
        is_valid.then_some(Self(text)).ok_or(invalid)
    }
}

/// The id of a key: the first 8 hex digits of its hash. It is no secret, and names the key to
/// people, in an agent's record and in its binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(String);

impl KeyId {
    const DIGITS: usize = 8;

    /// Returns the hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let is_valid = text.len() == Self::DIGITS && text.bytes().all(is_lowercase_hex);
        let invalid = InvalidId("key id", "8 hex digits");
        is_valid.then_some(Self(text)).ok_or(invalid)
    }
}

/// The beginning of a key's id, by which a person names the key: 4 to 8 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The fewest digits: a mistyped shorter prefix would soon fit another key.
    const MIN_DIGITS: usize = 4;

    /// Finds the one key whose id begins so.
    ///
    /// # Errors
    /// [`NoSuchKey`] if there is none, or more than one.
    pub fn find_in<'a>(&self, keys: &'a [StoredKey]) -> Result<&'a StoredKey, NoSuchKey> {
        let begins_so = |key: &&StoredKey| key.hash.as_str().starts_with(&self.0);
        let found: Vec<_> = keys.iter().filter(begins_so).collect();
        let ids = |keys: &mut dyn Iterator<Item = &StoredKey>| {
            let ids: Vec<_> = keys.map(|key| key.id().to_string()).collect();
            ids.join(", ")
        };
        match found[..] {
            [key] => Ok(key),
            [] if keys.is_empty() => Err(NoSuchKey::NoKeys),
            [] => Err(NoSuchKey::None {
                prefix: self.0.clone(),
                keys: ids(&mut keys.iter()),
            }),
            _ => Err(NoSuchKey::Ambiguous {
                prefix: self.0.clone(),
                keys: ids(&mut found.into_iter()),
            }),
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyPrefix {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let text = text.to_lowercase();
        let is_valid = (Self::MIN_DIGITS..=KeyId::DIGITS).contains(&text.len())
            && text.bytes().all(is_lowercase_hex);
        let invalid = InvalidId("key prefix", "4 to 8 hex digits");
        is_valid.then_some(Self(text)).ok_or(invalid)
    }
}

/// A prefix does not name one key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchKey {
    /// The agent has no keys.
    #[error("the agent has no keys")]
    NoKeys,
    /// No key begins so.
    #[error("no key begins with {prefix}; the agent's keys are {keys}")]
    None {
        /// The prefix.
        prefix: String,
        /// The ids of all keys.
        keys: String,
    },
    /// Several keys begin so.
    #[error("several keys begin with {prefix}: {keys}; give more digits")]
    Ambiguous {
        /// The prefix.
        prefix: String,
        /// The ids of these keys.
        keys: String,
    },
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key's hash.
    pub hash: KeyHash,
    /// The time at which the key was issued.
    pub created_at: Timestamp,
    /// The time from which the key is refused, since another has replaced it.
    pub valid_until: Option<Timestamp>,
}

impl StoredKey {
    /// Returns the key's id.
    pub fn id(&self) -> KeyId {
        self.hash.key_id()
    }

    /// Whether the key may be used at this time.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }
}

const fn is_lowercase_hex(c: u8) -> bool {
    matches!(c, b'0'..=b'9' | b'a'..=b'f')
}
