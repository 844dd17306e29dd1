//! SQS `dispatch`: hands tasks to agents.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use bematic::{
    aws::Aws,
    handlers::{dispatch::Dispatcher, sqs, transitions::Transitions},
    ids::RandomIds,
    task::TaskPolicy,
    time::SystemClock,
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let (tasks, dispatch) = (aws.tasks()?, aws.dispatch()?);
    let dispatcher = &Dispatcher {
        transitions: Transitions::new(
            tasks.clone(),
            dispatch.clone(),
            aws.notifications()?,
            TaskPolicy::default(),
        ),
        tasks,
        dispatch,
        agents: aws.agents()?,
        gateway: aws.gateway()?,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(sqs::each(event.payload, |message| dispatcher.handle(message)).await)
    }))
    .await
}
