//! Authorizer of `$connect`: lets a handshake with a good key through as its agent, one without a key
//! as not yet authenticated, and one with a bad key not at all.

use bematic::handlers::{authorize::Authorizer, event::Handshake};
use bematic_aws::app::App;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;

/// A call to AWS is some hundred small allocations: a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let app = App::from_env().await?;
    let authorizer = &Authorizer::new(app.ports());
    run(service_fn(async |event: LambdaEvent<Handshake>| {
        let policy = authorizer.handle(&event.payload).await;
        policy.map_err(|refusal| Diagnostic {
            error_type: refusal.code.into(),
            error_message: refusal.text.into(),
        })
    }))
    .await
}
