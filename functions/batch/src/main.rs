//! SQS `batch`: bulk work on many tasks.

use aws_lambda_events::sqs::SqsEvent;
use bematic::handlers::{batch, sqs};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(sqs::each(event.payload, async |message| batch::handle(message)).await)
    }))
    .await
}
