//! The socket: connects, again and again, and carries text both ways.

mod backoff;
mod failure;
mod frames;

use std::{sync::Once, time::Duration};

use bematic::{
    ids::AgentId,
    protocol::{CloudMessage, ProtocolError, decode},
};
use futures_util::{SinkExt, Stream, StreamExt, stream::SplitSink};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, header::AUTHORIZATION},
        protocol::WebSocketConfig,
    },
};
use url::Url;

use self::{backoff::Backoff, failure::Failure};
use crate::event::LinkEvent;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How long the network may take to accept one message.
const SEND: Duration = Duration::from_secs(30);
/// How long the other side may take to agree to a close.
pub const CLOSE: Duration = Duration::from_secs(2);
/// A connection that held so long was a good one: the next failure starts from a short wait.
const STABLE: Duration = Duration::from_secs(30);
/// Bytes of the largest message that is read; API Gateway's are at most 128 KB.
const MAX_INCOMING: usize = 1024 * 1024;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where text goes while there is a connection. Dropping it closes that connection.
pub type Line = mpsc::Sender<String>;

/// What happened to the connection; with [`LinkEvent::Up`] comes its line.
pub type Report = (LinkEvent, Option<Line>);

/// Whom to connect to, and as whom.
pub struct Endpoint {
    /// The WebSocket.
    pub url: Url,
    /// The agent.
    pub agent_id: AgentId,
    /// Its key.
    pub api_key: SecretString,
    /// The longest wait before the first reconnection.
    pub reconnect: Duration,
}

/// Keeps a connection until nobody listens to `reports`, or the key is refused.
pub async fn run(endpoint: Endpoint, reports: mpsc::Sender<Report>) {
    let mut backoff = Backoff::new(endpoint.reconnect);
    loop {
        if reports.send((LinkEvent::Connecting, None)).await.is_err() {
            return;
        }
        let reason = match connect(&endpoint).await {
            Ok(socket) => {
                let began = Instant::now();
                let reason = converse(socket, &reports).await;
                if began.elapsed() >= STABLE {
                    backoff.reset();
                }
                reason
            }
            Err(Failure::Passing(reason)) => reason,
            Err(Failure::Refused(reason)) => {
                // Nobody listens only when the agent itself ends.
                let _ending = reports.send((LinkEvent::Refused(reason), None)).await;
                return;
            }
        };
        let retry_in = backoff.next(random());
        let down = LinkEvent::Down { reason, retry_in };
        if reports.send((down, None)).await.is_err() {
            return;
        }
        sleep(retry_in).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that needs chance: agents must not come back all at once"
)]
fn random() -> f64 {
    rand::random()
}

async fn connect(endpoint: &Endpoint) -> Result<Socket, Failure> {
    install_cryptography();
    let request = request(endpoint).map_err(|error| Failure::of(&error, &endpoint.url))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_INCOMING))
        .max_frame_size(Some(MAX_INCOMING));
    match timeout(
        HANDSHAKE,
        connect_async_with_config(request, Some(config), true),
    )
    .await
    {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(Failure::of(&error, &endpoint.url)),
        Err(_) => Err(Failure::Passing(format!(
            "no answer within {} s",
            HANDSHAKE.as_secs()
        ))),
    }
}

fn request(endpoint: &Endpoint) -> Result<Request, tungstenite::Error> {
    let mut request = endpoint.url.as_str().into_client_request()?;
    let bearer = format!("Bearer {}", endpoint.api_key.expose_secret());
    let mut bearer = HeaderValue::from_str(&bearer)?;
    bearer.set_sensitive(true);
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(
        "X-Agent-Id",
        HeaderValue::from_str(endpoint.agent_id.as_str())?,
    );
    Ok(request)
}

/// The TLS library is told which cryptography to use, since it refuses to choose.
fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only where another part of the process has chosen already, which is as good.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Carries text until the connection ends; returns why it did.
async fn converse(socket: Socket, reports: &mpsc::Sender<Report>) -> String {
    let (line, texts) = mpsc::channel(1);
    if reports.send((LinkEvent::Up, Some(line))).await.is_err() {
        return "the agent ends".to_owned();
    }
    let (sink, mut stream) = socket.split();
    let writing = tokio::select! {
        reason = read(&mut stream, reports) => return reason,
        written = write(sink, texts) => written,
    };
    if let Err(reason) = writing {
        return reason;
    }
    // The close was sent: what comes before the answer to it still counts.
    let _answered = timeout(CLOSE, read(&mut stream, reports)).await;
    "closed by the agent".to_owned()
}

/// Sends what comes over the line; closes when the line is dropped.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut texts: mpsc::Receiver<String>,
) -> Result<(), String> {
    while let Some(text) = texts.recv().await {
        match timeout(SEND, frames::send(&mut sink, &text)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failure::describe(&error)),
            Err(_) => return Err("the network does not take what is sent".to_owned()),
        }
    }
    // The connection ends either way.
    let _closed = timeout(CLOSE, sink.close()).await;
    Ok(())
}

/// Reports what comes; returns why no more does.
async fn read(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    reports: &mpsc::Sender<Report>,
) -> String {
    while let Some(message) = stream.next().await {
        let event = match message {
            Ok(Message::Text(text)) => understand(&text),
            Ok(Message::Close(Some(frame))) => {
                return format!("closed by the cloud ({} {})", frame.code, frame.reason);
            }
            Ok(Message::Close(None)) => return "closed by the cloud".to_owned(),
            Ok(Message::Binary(_)) => LinkEvent::Unreadable("a binary message".to_owned()),
            Ok(_) => continue,
            Err(error) => return failure::describe(&error),
        };
        if reports.send((event, None)).await.is_err() {
            return "the agent ends".to_owned();
        }
    }
    "the connection ended".to_owned()
}

fn understand(text: &str) -> LinkEvent {
    match decode::<CloudMessage>(text) {
        Ok((envelope, _)) => LinkEvent::Message(Box::new(envelope)),
        // API Gateway's own words when a message's function failed: not an envelope.
        Err(ProtocolError::Envelope { .. }) if text.contains("\"connectionId\"") => {
            LinkEvent::Unreadable(format!(
                "an error of the gateway itself: {}",
                crate::text::shorten(text, 300)
            ))
        }
        Err(error) => LinkEvent::Unreadable(error.to_string()),
    }
}
