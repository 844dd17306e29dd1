//! `$default`: the message router.

use std::sync::Arc;

use bematic::{
    aws::Aws,
    config::{breaker_config, task_policy},
    handlers::{event::SocketEvent, message::MessageRouter, transitions::Transitions},
    time::SystemClock,
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let (tasks, dispatch, notifications) = (aws.tasks()?, aws.dispatch()?, aws.notifications()?);
    let transitions = Transitions::new(
        tasks.clone(),
        aws.breakers()?,
        dispatch.clone(),
        notifications.clone(),
        task_policy()?,
        breaker_config()?,
    );
    let router = &MessageRouter::new(
        tasks,
        aws.agents()?,
        aws.gateway()?,
        dispatch,
        notifications,
        transitions,
        Arc::new(SystemClock),
    );
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        router.handle(event.payload).await;
        // Without a body: API Gateway would pass it on to the agent.
        Ok::<_, Error>(json!({ "statusCode": 200 }))
    }))
    .await
}
