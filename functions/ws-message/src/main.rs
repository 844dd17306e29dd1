//! `$default`: the message router.

use std::sync::Arc;

use bematic::{
    aws::Aws,
    config::task_policy,
    handlers::{event::SocketEvent, message::MessageRouter},
    time::SystemClock,
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let router = &MessageRouter::new(
        aws.tasks()?,
        aws.agents()?,
        aws.gateway()?,
        aws.dispatch()?,
        aws.notifications()?,
        task_policy()?,
        Arc::new(SystemClock),
    );
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        router.handle(event.payload).await;
        // Without a body: API Gateway would pass it on to the agent.
        Ok::<_, Error>(json!({ "statusCode": 200 }))
    }))
    .await
}
