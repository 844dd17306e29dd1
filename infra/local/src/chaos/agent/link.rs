//! An agent's connection: away, opening, or open. Waiting for it can be given up and resumed.

use std::pin::Pin;
use std::time::Duration;

use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use bematic_test_agent::{Connection, Handshake, Incoming, Outgoing, Spelling};
use tokio::time::{sleep, timeout};

type Opening = Pin<Box<dyn Future<Output = Option<Connection>> + Send>>;

/// The wait after a connection that was refused or lost.
const AGAIN: Duration = Duration::from_millis(700);
/// The time limit of a handshake, and of handing one message to the system.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event of the connection.
#[derive(Debug)]
pub(super) enum Happened {
    Opened,
    Received(String),
    /// The connection was lost, or could not be opened.
    Lost {
        was_open: bool,
    },
}

enum State {
    Away { until: Timestamp },
    Opening(Opening),
    Open(Connection),
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
        let until = SystemClock.now();
        Self {
            url,
            handshake,
            state: State::Away { until },
        }
    }

    /// Opens the next connection elsewhere.
    pub(super) fn move_to(&mut self, url: String) {
        self.url = url;
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Cuts the connection and stays away.
    pub(super) fn leave(&mut self, away: Duration) {
        let until = SystemClock.now() + away;
        self.state = State::Away { until };
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
    pub(super) async fn next(&mut self) -> Happened {
        loop {
            match &mut self.state {
                State::Away { until } => {
                    sleep(until.since(SystemClock.now())).await;
                    self.state = State::Opening(open(self.url.clone(), self.handshake.clone()));
                }
                State::Opening(opening) => match opening.await {
                    Some(connection) => {
                        self.state = State::Open(connection);
                        return Happened::Opened;
                    }
                    None => return self.lost(false),
                },
                State::Open(connection) => match connection.next().await {
                    Incoming::Text(text) => return Happened::Received(text),
                    Incoming::Closed(_) => return self.lost(true),
                },
            }
        }
    }

    fn lost(&mut self, was_open: bool) -> Happened {
        self.leave(AGAIN);
        Happened::Lost { was_open }
    }
}

fn open(url: String, handshake: Handshake) -> Opening {
    Box::pin(async move {
        let opening = timeout(PATIENCE, Connection::open(&url, &handshake)).await;
        opening.ok()?.ok()
    })
}
