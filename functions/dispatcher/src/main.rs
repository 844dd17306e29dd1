//! SQS `dispatch`: hands tasks to agents.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use bematic::{
    dead_letter::QueueName,
    handlers::{dispatch::Dispatcher, sqs, transitions::Transitions},
};
use bematic_aws::{
    aws::Aws,
    config::{breaker_config, task_policy},
};
use bematic_protocol::{ids::RandomIds, time::SystemClock};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;

/// A call to AWS is some hundred small allocations: a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let (tasks, breakers) = (aws.tasks()?, aws.breakers()?);
    let (dispatch, notifications) = (aws.dispatch()?, aws.notifications()?);
    let dispatcher = &Dispatcher {
        transitions: Transitions::new(
            tasks.clone(),
            breakers.clone(),
            dispatch.clone(),
            notifications.clone(),
            task_policy()?,
            breaker_config()?,
        ),
        tasks,
        breakers,
        dispatch,
        notifications,
        agents: aws.agents()?,
        gateway: aws.gateway()?,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    let source = &*aws.source(QueueName::Dispatch)?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let handle = |message| dispatcher.handle(message);
        Ok::<_, Error>(sqs::each(event.payload, source, handle).await)
    }))
    .await
}
