//! API keys: `bm_` and 64 hex digits, printed once, stored as a hash only.

use std::{fmt, str::FromStr};

use bematic_protocol::ids::InvalidId;
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
        let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let is_valid = digits.len() == 64 && digits.bytes().all(is_hex);
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
}

impl TryFrom<String> for KeyHash {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let is_valid = text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit());
        let invalid = InvalidId("key hash", "64 hex digits");
        is_valid.then_some(Self(text)).ok_or(invalid)
    }
}
