//! Every minute: finds the work that no message is left for.

use std::sync::Arc;

use bematic::{aws::Aws, error::chain, handlers::sweep::Sweeper, time::SystemClock};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let sweeper = &Sweeper {
        tasks: aws.tasks()?,
        agents: aws.agents()?,
        gateway: aws.gateway()?,
        dispatch: aws.dispatch()?,
        batches: aws.batches()?,
        batch_queue: aws.batch_queue()?,
        clock: Arc::new(SystemClock),
    };
    run(service_fn(async |_: LambdaEvent<Value>| {
        let result = sweeper.sweep().await;
        if let Err(error) = &result {
            tracing::error!(
                code = error.code(),
                error = chain(error),
                "sweep not finished"
            );
        }
        result.map(drop).map_err(Error::from)
    }))
    .await
}
