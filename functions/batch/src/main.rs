//! SQS `batch`: bulk work on many tasks.

use aws_lambda_events::sqs::SqsEvent;
use bematic::{
    aws::Aws,
    handlers::{batch, sqs},
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let source = &*Aws::load().await.source("BATCH_QUEUE_URL")?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let handle = async |message| batch::handle(message);
        Ok::<_, Error>(sqs::each(event.payload, source, handle).await)
    }))
    .await
}
