//! `$disconnect`: unbinds the connection, if it is still its agent's current one.

use bematic::{
    error::chain,
    handlers::{disconnect::Disconnector, event::SocketEvent},
};
use bematic_aws::aws::Aws;
use bematic_protocol::time::{Clock, SystemClock};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;
use serde_json::json;

/// A call to AWS is some hundred small allocations: a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let disconnector = &Disconnector::new(Aws::load().await.agents()?);
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        if let Err(error) = disconnector
            .disconnect(&event.payload, SystemClock.now())
            .await
        {
            tracing::error!(
                code = error.code(),
                error = chain(&error),
                "connection not unbound"
            );
        }
        Ok::<_, Error>(json!({ "statusCode": 200 }))
    }))
    .await
}
