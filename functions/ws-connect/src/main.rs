//! `ws-connect`, called for `$connect`: binds the connection to its agent, or gives it 10 s to
//! authenticate in band.

use bematic::handlers::{connect::connect, event::SocketEvent};
use bematic_aws::app::{App, CallTimeLimits};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use mimalloc::MiMalloc;

/// The allocator, which takes a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let app = App::from_env(CallTimeLimits::USUAL).await?;
    let ports = &app.ports();
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        Ok::<_, Error>(connect(ports, &event.payload).await)
    }))
    .await
}
