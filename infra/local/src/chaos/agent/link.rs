//! An agent's connection: away, opening, or open. Waiting for it can be given up and resumed.

use std::pin::Pin;
use std::time::Duration;

use bematic_protocol::ids::AgentId;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Opening = Pin<Box<dyn Future<Output = Result<Socket, Error>> + Send>>;

/// How long an agent waits after a connection that was refused or lost.
const AGAIN: Duration = Duration::from_millis(700);
/// How long the handshake may take, or one message to be handed to the system.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where an agent connects, and as whom.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct Door {
    pub(in crate::chaos) url: String,
    pub(in crate::chaos) agent: AgentId,
    pub(in crate::chaos) api_key: String,
}

/// What happened to the connection.
#[derive(Debug)]
pub(super) enum Happened {
    Opened,
    Said(String),
    /// It is no more; whether it ever was.
    Lost {
        was_open: bool,
    },
}

enum State {
    Away { until: Timestamp },
    Opening(Opening),
    Open(Box<Socket>),
}

/// The connection.
pub(super) struct Link {
    door: Door,
    state: State,
}

impl Link {
    /// Not there yet; opened at once.
    pub(super) fn new(door: Door) -> Self {
        let until = SystemClock.now();
        Self {
            door,
            state: State::Away { until },
        }
    }

    /// Opens the next connection elsewhere.
    pub(super) fn move_to(&mut self, url: String) {
        self.door.url = url;
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Cuts the connection without a word and stays away.
    pub(super) fn leave(&mut self, away: Duration) {
        let until = SystemClock.now() + away;
        self.state = State::Away { until };
    }

    /// Sends all, in order; what cannot be sent is lost, as is the connection.
    pub(super) async fn send(&mut self, messages: Vec<String>) {
        let State::Open(socket) = &mut self.state else {
            return;
        };
        for message in messages {
            // Its loss is told by the next look at it.
            let _ = timeout(PATIENCE, socket.send(Message::text(message))).await;
        }
    }

    /// Waits for the next thing that happens.
    pub(super) async fn next(&mut self) -> Happened {
        loop {
            match &mut self.state {
                State::Away { until } => {
                    sleep(until.since(SystemClock.now())).await;
                    self.state = State::Opening(open(self.door.clone()));
                }
                State::Opening(opening) => match opening.await {
                    Ok(socket) => {
                        self.state = State::Open(Box::new(socket));
                        return Happened::Opened;
                    }
                    Err(_) => return self.lost(false),
                },
                State::Open(socket) => match socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Happened::Said(text.as_str().to_owned());
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return self.lost(true),
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    fn lost(&mut self, was_open: bool) -> Happened {
        self.leave(AGAIN);
        Happened::Lost { was_open }
    }
}

fn open(door: Door) -> Opening {
    Box::pin(async move {
        let mut request = door.url.as_str().into_client_request()?;
        let headers = [
            ("authorization", format!("Bearer {}", door.api_key)),
            ("x-agent-id", door.agent.to_string()),
        ];
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse()?);
        }
        match timeout(PATIENCE, connect_async(request)).await {
            Ok(connected) => connected.map(|(socket, _)| socket),
            Err(_) => Err(Error::ConnectionClosed),
        }
    })
}
