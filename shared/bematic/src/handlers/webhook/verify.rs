//! Whether a request is Slack's.

use bematic_protocol::time::Timestamp;
use tracing::{error, warn};

use super::http::{Request, Response};
use crate::{
    error::{SecretError, chain},
    secret::{CachedSecret, Secret},
    slack::signature::{Signature, SignatureError},
};

/// Why a request is not known to be Slack's.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) enum VerifyError {
    /// It is not.
    Signature(#[from] SignatureError),
    /// The signing secret is not known.
    Secret(#[from] SecretError),
}

impl VerifyError {
    /// Logs the error, and returns the response. Slack repeats an event after a 503, and tells
    /// whoever gave a command that it failed.
    pub(super) fn logged_response(&self) -> Response {
        match self {
            Self::Signature(error) => {
                warn!(code = error.code(), %error, "request refused");
                Response::error(401, error.code())
            }
            Self::Secret(error) => {
                let code = SecretError::CODE;
                error!(code, error = %chain(error), "request not verified");
                Response::error(503, code)
            }
        }
    }
}

/// Verifies a request's signature by the signing secret: the present one, the one before a rotation
/// while it is accepted, or one that has just replaced them.
pub(super) async fn verify(
    signing_secret: &CachedSecret,
    request: Request<'_>,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let Request {
        timestamp,
        signature,
        body,
        ..
    } = request;
    let signature = Signature::parse(timestamp, signature, body, now)?;
    let secret = signing_secret.get().await?;
    if fits(&signature, &secret) {
        return Ok(());
    }
    match signing_secret.changed_since(&secret).await {
        Some(changed) if fits(&signature, &changed) => Ok(()),
        _ => Err(SignatureError::Mismatch.into()),
    }
}

fn fits(signature: &Signature<'_>, secret: &Secret) -> bool {
    let mut accepted = [Some(&secret.current), secret.previous.as_ref()]
        .into_iter()
        .flatten();
    accepted.any(|secret| signature.verify(secret).is_ok())
}
