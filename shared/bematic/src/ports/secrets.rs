//! The port to a secret of the deployment, whose versions rotation changes.

use async_trait::async_trait;
use bematic_protocol::time::Timestamp;
use secrecy::SecretString;

use crate::error::SecretError;

/// A version of a secret.
#[derive(Debug, Clone)]
pub struct SecretVersion {
    /// The secret itself, which is not empty.
    pub value: SecretString,
    /// The time at which the version was stored.
    pub created_at: Timestamp,
}

/// A secret of the deployment. Not one of the [`Ports`](super::Ports), which every function has: a
/// function has only the secret that it uses.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Reads the present version.
    async fn current(&self) -> Result<SecretVersion, SecretError>;

    /// Reads the version that was the present one before the last rotation, if there was any.
    async fn previous(&self) -> Result<Option<SecretVersion>, SecretError>;
}
