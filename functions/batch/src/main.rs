//! SQS `batch`: bulk work on many tasks.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use bematic::{
    dead_letter::QueueName,
    handlers::{batch::BatchWorker, sqs, transitions::Transitions},
};
use bematic_aws::{
    aws::Aws,
    config::{breaker_config, task_policy},
};
use bematic_protocol::time::SystemClock;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;

/// A call to AWS is some hundred small allocations: a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let (tasks, notifications) = (aws.tasks()?, aws.notifications()?);
    let worker = &BatchWorker {
        transitions: Transitions::new(
            tasks.clone(),
            aws.breakers()?,
            aws.dispatch()?,
            notifications.clone(),
            task_policy()?,
            breaker_config()?,
        ),
        tasks,
        notifications,
        batches: aws.batches()?,
        queue: aws.batch_queue()?,
        clock: Arc::new(SystemClock),
    };
    let source = &*aws.source(QueueName::Batch)?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let handle = |message| worker.handle(message);
        Ok::<_, Error>(sqs::each(event.payload, source, handle).await)
    }))
    .await
}
