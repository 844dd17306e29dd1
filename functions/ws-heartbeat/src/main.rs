//! HEARTBEAT_PING and HEARTBEAT_PONG: the message router, in execution environments of its own.

use bematic::{aws::Aws, handlers::event::SocketEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let router = &Aws::load().await.message_router()?;
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        router.handle(event.payload).await;
        // Without a body: API Gateway would pass it on to the agent.
        Ok::<_, Error>(json!({ "statusCode": 200 }))
    }))
    .await
}
