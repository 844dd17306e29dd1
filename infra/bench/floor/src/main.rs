//! A function that does nothing, on the runtime that the others are on: what they are measured
//! against, since machines differ and are noisy. Asked to, it exchanges bytes with the endpoint of
//! AWS as others do, and does nothing with them: that is what the network costs a processor.

#![expect(
    clippy::disallowed_methods,
    reason = "the bench reads how long the function takes"
)]

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
const REQUEST: usize = 1500;
const ANSWER: &[u8] = b"{}";

/// Between exchanges a processor is busy for as long as it is with a call of the others: meanwhile
/// the endpoint falls asleep, and has to be woken.
const BUSY: Duration = Duration::from_micros(200);

#[derive(Deserialize)]
struct Wanted {
    /// How often to be busy.
    #[serde(default)]
    times: u32,
    /// Whether to exchange bytes each time.
    #[serde(default)]
    exchange: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let kept = &Mutex::new(None);
    run(service_fn(async |event: LambdaEvent<Wanted>| {
        let mut kept = kept.lock().await;
        for _ in 0..event.payload.times {
            let began = Instant::now();
            while began.elapsed() < BUSY {
                std::hint::spin_loop();
            }
            if event.payload.exchange {
                exchange(&mut kept).await?;
            }
        }
        Ok::<_, Error>(json!({ "statusCode": 200 }))
    }))
    .await
}

/// A request and its answer, over one connection that is kept.
async fn exchange(kept: &mut Option<TcpStream>) -> Result<(), Error> {
    let url = std::env::var("AWS_ENDPOINT_URL")?;
    let host = url.trim_start_matches("http://");
    if kept.is_none() {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        *kept = Some(stream);
    }
    let Some(stream) = kept else { return Ok(()) };
    let head =
        format!("POST /exchange HTTP/1.1\r\nhost: {host}\r\ncontent-length: {REQUEST}\r\n\r\n");
    let mut request = head.into_bytes();
    request.resize(request.len() + REQUEST, b' ');
    stream.write_all(&request).await?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(ANSWER) {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err("the endpoint has closed the connection".into());
        }
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    Ok(())
}
