//! A secret in an execution environment: read at first use, kept, and read again so that a rotation
//! takes effect without a deployment.
//!
//! | what | when |
//! |---|---|
//! | the first read | at first use; each use tries again until one succeeds |
//! | the next read | at the first use after [`KEEP`] |
//! | an early read | when the value is refused, or a signature does not fit it |
//! | no read | within [`MIN_INTERVAL`] of the last one, if a value is known |
//! | a failed read | the known value is used on |

use std::{fmt, sync::Arc, time::Duration};

use bematic_protocol::time::{Clock, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::Mutex, time::timeout};
use tracing::warn;

use crate::{
    error::{SecretError, chain},
    ports::{SecretSource, SecretVersion},
};

/// The time after which a secret is read again. A rotation takes effect within 5 min: a minute is
/// left for a read that fails, and for Secrets Manager to have the new version everywhere.
pub const KEEP: Duration = Duration::from_mins(4);
/// The time between two reads of a secret that is known already, at least.
pub const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// The time for which the previous version is accepted after the present one was stored. Slack's
/// last repetition of an event comes 5 min after the first try, and a person who rotates the secret
/// needs a few minutes; whoever has stolen the old secret should not have more.
pub const ACCEPT_PREVIOUS: Duration = Duration::from_hours(1);
/// The time limit of a read. Slack's 3 s for a request have to last for the rest, too.
pub const READ_WITHIN: Duration = Duration::from_millis(1500);

/// A secret as it is known now.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The present value.
    pub current: SecretString,
    /// The value before the last rotation, while it is accepted too.
    pub previous: Option<SecretString>,
}

impl Secret {
    fn has_value_of(&self, other: &Self) -> bool {
        self.current.expose_secret() == other.current.expose_secret()
    }
}

/// A secret that is read through a [`SecretSource`] and kept.
pub struct CachedSecret {
    source: Arc<dyn SecretSource>,
    clock: Arc<dyn Clock>,
    accepts_previous: bool,
    /// Locked during a read, so that what runs at the same time causes one.
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    known: Option<Known>,
    /// The time at which the last read began, successful or not.
    tried_at: Option<Timestamp>,
}

/// The versions that were read.
struct Known {
    current: SecretVersion,
    previous: Option<SecretVersion>,
    read_at: Timestamp,
}

impl Cache {
    fn may_read(&self, now: Timestamp) -> bool {
        self.tried_at
            .is_none_or(|tried_at| now.since(tried_at) >= MIN_INTERVAL)
    }
}

impl Known {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.read_at) < KEEP
    }

    fn secret(&self, now: Timestamp) -> Secret {
        let previous = self.previous.as_ref();
        let previous = previous.filter(|_| is_previous_accepted(&self.current, now));
        Secret {
            current: self.current.value.clone(),
            previous: previous.map(|it| it.value.clone()),
        }
    }
}

/// Whether the version before this one is still accepted.
fn is_previous_accepted(current: &SecretVersion, now: Timestamp) -> bool {
    now.since(current.created_at) < ACCEPT_PREVIOUS
}

impl CachedSecret {
    /// Creates a cache of a secret of which only the present version counts.
    pub fn new(source: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            clock,
            accepts_previous: false,
            cache: Mutex::default(),
        }
    }

    /// Has the previous version accepted too, for [`ACCEPT_PREVIOUS`].
    #[must_use]
    pub fn with_previous(self) -> Self {
        Self {
            accepts_previous: true,
            ..self
        }
    }

    /// Returns the secret, within [`READ_WITHIN`].
    ///
    /// # Errors
    /// [`SecretError`] if the secret was never read and cannot be read now.
    pub async fn get(&self) -> Result<Secret, SecretError> {
        let mut cache = self.cache.lock().await;
        let now = self.clock.now();
        match &cache.known {
            Some(known) if known.is_fresh(now) || !cache.may_read(now) => Ok(known.secret(now)),
            _ => self.read(&mut cache, now).await,
        }
    }

    /// Returns the secret if it is no longer the one that was refused: another use has read it
    /// anew, or it may be read early and has changed.
    pub async fn changed_since(&self, refused: &Secret) -> Option<Secret> {
        let mut cache = self.cache.lock().await;
        let now = self.clock.now();
        let mut secret = cache.known.as_ref()?.secret(now);
        if secret.has_value_of(refused) && cache.may_read(now) {
            secret = self.read(&mut cache, now).await.ok()?;
        }
        (!secret.has_value_of(refused)).then_some(secret)
    }

    /// Reads the secret. If that fails, what is known is used on.
    async fn read(&self, cache: &mut Cache, now: Timestamp) -> Result<Secret, SecretError> {
        cache.tried_at = Some(now);
        let read = timeout(READ_WITHIN, self.read_versions(now)).await;
        match (read.unwrap_or(Err(SecretError::TooSlow)), &cache.known) {
            (Ok(read), _) => {
                let secret = read.secret(now);
                cache.known = Some(read);
                Ok(secret)
            }
            (Err(error), Some(known)) => {
                let code = SecretError::CODE;
                warn!(code, error = %chain(&error), "secret not read again: the known one is used");
                Ok(known.secret(now))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Reads the present version, and the previous one while that is accepted: a call or two.
    async fn read_versions(&self, now: Timestamp) -> Result<Known, SecretError> {
        let current = self.source.current().await?;
        let previous = if self.accepts_previous && is_previous_accepted(&current, now) {
            // The present one is worth more than the error.
            self.source.previous().await.unwrap_or_else(|error| {
                let code = SecretError::CODE;
                warn!(code, error = %chain(&error), "previous secret not read");
                None
            })
        } else {
            None
        };
        Ok(Known {
            current,
            previous,
            read_at: now,
        })
    }
}

impl fmt::Debug for CachedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSecret").finish_non_exhaustive()
    }
}
