//! `$connect`: binds the connection to its agent, or gives it 10 s to authenticate.

use bematic::{
    error::{BematicError, chain},
    handlers::{connect::Connector, event::SocketEvent},
};
use bematic_aws::aws::Aws;
use bematic_protocol::time::{Clock, SystemClock};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;
use serde_json::{Value, json};

/// A call to AWS is some hundred small allocations: a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let connector = &Connector::new(aws.agents()?, aws.dispatch()?, aws.gateway()?);
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        let result = connector.connect(&event.payload, SystemClock.now()).await;
        Ok::<_, Error>(answer(result))
    }))
    .await
}

/// Anything but 200 refuses the handshake; the agent connects again.
fn answer(result: Result<(), BematicError>) -> Value {
    let status = match result {
        Ok(()) => 200,
        Err(error) => {
            tracing::error!(
                code = error.code(),
                error = chain(&error),
                "connection refused"
            );
            if error.is_transient() { 503 } else { 401 }
        }
    };
    json!({ "statusCode": status })
}
