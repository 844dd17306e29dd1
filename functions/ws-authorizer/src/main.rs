//! `ws-authorizer`, called before `$connect`: accepts a handshake with a valid key for its agent,
//! accepts one without a key to authenticate in band, and refuses one with an invalid key.

use bematic::handlers::{connect::authorize, event::Handshake};
use bematic_aws::app::{App, CallTimeLimits};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;

/// The allocator, which takes a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let app = App::from_env(CallTimeLimits::USUAL).await?;
    app.require_keys_table()?;
    let ports = &app.ports();
    run(service_fn(async |event: LambdaEvent<Handshake>| {
        let policy = authorize(ports, &event.payload).await;
        policy.map_err(|refusal| Diagnostic {
            error_type: refusal.code.into(),
            error_message: refusal.text.into(),
        })
    }))
    .await
}
