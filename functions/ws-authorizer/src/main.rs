//! Authorizer of `$connect`: a handshake with a key is let through as its agent, one without as
//! nobody yet, and one with a bad key not at all.

use bematic::{
    error::BematicError,
    handlers::{authorize::Authorizer, event::Handshake},
};
use bematic_aws::aws::Aws;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;

/// API Gateway answers 401 for an authorizer's error of exactly this text, and 500 for any other.
const UNAUTHORIZED: &str = "Unauthorized";

/// A call to AWS is some hundred small allocations: a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let authorizer = &Authorizer::new(Aws::load().await.agents()?);
    run(service_fn(async |event: LambdaEvent<Handshake>| {
        let handshake = event.payload;
        match authorizer.authorize(handshake.credentials()).await {
            Ok(agent) => Ok(handshake.allow(agent.as_ref())),
            Err(error) => Err(refusal(&error)),
        }
    }))
    .await
}

fn refusal(error: &BematicError) -> Diagnostic {
    if error.is_transient() {
        tracing::error!(code = error.code(), %error, "handshake not checked");
    } else {
        tracing::warn!(code = error.code(), %error, "handshake refused");
    }
    let text = if error.is_transient() {
        error.code()
    } else {
        UNAUTHORIZED
    };
    Diagnostic {
        error_type: error.code().into(),
        error_message: text.into(),
    }
}
