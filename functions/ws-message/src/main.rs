//! `ws-message`, called for `$default`: routes every other message of an agent to its handler.

use bematic::handlers::{event::SocketEvent, message::MessageRouter};
use bematic_aws::app::{App, CallTimeLimits};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;
use serde_json::json;

/// The allocator, which takes a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let app = App::from_env(CallTimeLimits::USUAL).await?;
    app.require_keys_table()?;
    let router = &MessageRouter::new(app.ports());
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        router.handle(event.payload).await;
        // No body: API Gateway would send it to the agent.
        Ok::<_, Error>(json!({ "statusCode": 200 }))
    }))
    .await
}
