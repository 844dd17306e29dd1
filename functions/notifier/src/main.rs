//! SQS `notifications.fifo`: renders tasks into Slack.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use bematic::{
    dead_letter::QueueName,
    handlers::{notify::Notifier, sqs},
};
use bematic_aws::{
    aws::Aws,
    config::{operations_channel, required},
    slack::SlackClient,
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
    let token = required("SLACK_BOT_TOKEN")?.into();
    let slack = SlackClient::new(&required("SLACK_API_URL")?, token, SlackClient::TIMEOUT)?;
    let notifier = &Notifier {
        tasks: aws.tasks()?,
        agents: aws.agents()?,
        batches: aws.batches()?,
        cards: aws.cards()?,
        breakers: aws.breakers()?,
        operations_channel: operations_channel()?,
        slack: Arc::new(slack),
        clock: Arc::new(SystemClock),
    };
    let source = &*aws.source(QueueName::Notifications)?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let handle = |message| notifier.handle(message);
        Ok::<_, Error>(sqs::each(event.payload, source, handle).await)
    }))
    .await
}
