//! An agent's connection: opening, or open. Waiting for it can be given up and resumed.

use std::pin::Pin;
use std::time::Duration;

use bematic_test_agent::{Connection, Handshake, Incoming, Outgoing, Spelling};
use tokio::time::{sleep, timeout};

/// The wait after a connection that was refused or lost.
const AGAIN: Duration = Duration::from_millis(700);
/// The time limit of a handshake, and of handing one message to the system.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event of the connection.
#[derive(Debug)]
pub(super) enum Event {
    Opened,
    NotOpened,
    Received(String),
    Lost,
}

enum State {
    Opening(Pin<Box<dyn Future<Output = Option<Connection>> + Send>>),
    Open(Connection),
}

impl State {
    fn opening(after: Duration, url: String, handshake: Handshake) -> Self {
        Self::Opening(Box::pin(async move {
            sleep(after).await;
            let opening = timeout(PATIENCE, Connection::open(&url, &handshake)).await;
            opening.ok()?.ok()
        }))
    }
}

/// The connection.
pub(super) struct Link {
    url: String,
    handshake: Handshake,
    state: State,
}

impl Link {
    /// Returns a link that is opened at once.
    pub(super) fn new(url: String, handshake: Handshake) -> Self {
        Self {
            state: State::opening(Duration::ZERO, url.clone(), handshake.clone()),
            url,
            handshake,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Cuts the connection, and opens another after a while, at `url` if one is given.
    pub(super) fn reopen(&mut self, after: Duration, url: Option<String>) {
        self.url = url.unwrap_or_else(|| self.url.clone());
        self.state = State::opening(after, self.url.clone(), self.handshake.clone());
    }

    /// Sends all, in order; what cannot be sent is lost, as is the connection.
    pub(super) async fn send(&mut self, messages: Vec<Outgoing>) {
        let State::Open(connection) = &mut self.state else {
            return;
        };
        for message in messages {
            // The next event tells that the connection is lost.
            let _ = timeout(PATIENCE, connection.send(message.text(Spelling::Canonical))).await;
        }
    }

    /// Awaits the next event.
    pub(super) async fn next(&mut self) -> Event {
        let event = match &mut self.state {
            State::Opening(opening) => match opening.await {
                Some(connection) => {
                    self.state = State::Open(connection);
                    return Event::Opened;
                }
                None => Event::NotOpened,
            },
            State::Open(connection) => match connection.next().await {
                Incoming::Text(text) => return Event::Received(text),
                Incoming::Closed(_) => Event::Lost,
            },
        };
        self.reopen(AGAIN, None);
        event
    }
}
