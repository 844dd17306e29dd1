//! A stand-in for the cloud: a WebSocket server that a test scripts, and that enforces API
//! Gateway's limits on frames and messages.

use std::pin::pin;

use bematic_protocol::messages::AgentStatus;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::handshake::server::{ErrorResponse, Request, Response},
};

use super::{Connection, KEY, TIME_LIMIT};

/// The listening side.
pub(crate) struct Cloud {
    listener: TcpListener,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    /// Listens at an address that was free a moment ago.
    pub(crate) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { listener }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/dev", self.listener.local_addr().unwrap())
    }

    /// Accepts the next connection, with its AGENT_STATUS, which comes first.
    pub(crate) async fn connected(&self) -> (Connection, AgentStatus) {
        Connection::with_status(self.incoming().await).await
    }

    /// Accepts the next connection if its key is good, else refuses it with 401.
    pub(crate) async fn accept(&self) -> Option<Connection> {
        Connection::open(self.incoming().await).await
    }

    /// Answers the next handshake with an HTTP status, whatever its key.
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    pub(crate) async fn answer(&self, status: u16) {
        let refusal = |_: &Request, _| Err(refusal(status));
        let answered = accept_hdr_async(self.incoming().await, refusal).await;
        assert!(answered.is_err(), "a connection in spite of {status}");
    }

    /// Does something while no other connection can be opened.
    pub(crate) async fn alone<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                stream = self.listener.accept() => drop(stream),
            }
        }
    }

    /// The next connection, before its handshake.
    pub(crate) async fn incoming(&self) -> TcpStream {
        let accepted = timeout(TIME_LIMIT, self.listener.accept()).await;
        accepted.expect("a connection in time").unwrap().0
    }
}

/// Checks the agent's key and id.
#[expect(clippy::result_large_err, reason = "the library's signature")]
pub(super) fn authorize(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    let good = format!("Bearer {KEY}");
    if header("authorization") == Some(&good) && header("x-agent-id") == Some("tester") {
        return Ok(response);
    }
    Err(refusal(401))
}

fn refusal(status: u16) -> ErrorResponse {
    Response::builder().status(status).body(None).unwrap()
}
