//! A function that does nothing, on the runtime of the others: they are compared with it, since machines
//! differ and are noisy. It can exchange bytes with the endpoint of AWS, which is what the network costs.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
    time::Instant,
};

/// A request as large as an ordinary one: the headers of a signed call, and an item.
const REQUEST_BODY_BYTES: usize = 1500;
/// Between exchanges a processor is busy for as long as it is with a call of the others: meanwhile
/// the endpoint falls asleep, and has to be woken.
const SPIN_TIME: Duration = Duration::from_micros(200);

#[derive(Deserialize)]
struct SyntheticWorkload {
    /// How often to be busy, and whether to exchange bytes each time.
    #[serde(default)]
    times: u32,
    #[serde(default)]
    exchange: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let connection = &Mutex::new(None);
    run(service_fn(async |event: LambdaEvent<SyntheticWorkload>| {
        let mut connection = connection.lock().await;
        for _ in 0..event.payload.times {
            let began = Instant::now();
            while began.elapsed() < SPIN_TIME {
                std::hint::spin_loop();
            }
            if event.payload.exchange {
                exchange_with_aws_endpoint(&mut connection).await?;
            }
        }
        Ok::<_, Error>(json!({ "statusCode": 200 }))
    }))
    .await
}

/// A request and its answer, over one connection that is kept.
async fn exchange_with_aws_endpoint(connection: &mut Option<TcpStream>) -> Result<(), Error> {
    let url = std::env::var("AWS_ENDPOINT_URL")?;
    let host = url.trim_start_matches("http://");
    let stream = if let Some(stream) = connection {
        stream
    } else {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        connection.insert(stream)
    };
    let head = format!(
        "POST /exchange HTTP/1.1\r\nhost: {host}\r\ncontent-length: {REQUEST_BODY_BYTES}\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + REQUEST_BODY_BYTES, b' ');
    stream.write_all(&request).await?;
    let mut answer = Vec::with_capacity(4096);
    while !answer.ends_with(b"{}") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the endpoint has closed the connection".into());
        }
    }
    Ok(())
}
