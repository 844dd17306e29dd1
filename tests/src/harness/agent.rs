//! An agent that does what a test tells it: the wire protocol and nothing else, so that nothing of
//! the system under test is what it is tested with.

use std::collections::VecDeque;

use bematic_local::stack::StackFile;
use bematic_protocol::time::{Clock as _, SystemClock};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::LIMIT;
use super::test::unique;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a handshake says of who it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshake(Vec<(&'static str, String)>);

impl Handshake {
    /// Nothing: the agent authenticates in band.
    pub(crate) fn anonymous() -> Self {
        Self::default()
    }

    /// Both headers.
    pub(crate) fn header(agent_id: &str, api_key: &str) -> Self {
        Self(vec![
            ("authorization", format!("Bearer {api_key}")),
            ("x-agent-id", agent_id.to_owned()),
        ])
    }
}

/// How an agent spells types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `TASK_ACK`
    Canonical,
    /// `task:ack`
    Colons,
}

impl Spelling {
    fn write(self, canonical: &str) -> String {
        match self {
            Self::Canonical => canonical.to_owned(),
            Self::Colons => canonical.to_lowercase().replace('_', ":"),
        }
    }
}

/// A connected agent.
pub(crate) struct TestAgent {
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
    /// What came and was not asked for yet.
    inbox: VecDeque<Value>,
    /// The code that the cloud closed the connection with.
    goodbye: Option<u16>,
    spelling: Spelling,
    /// The time of the newest message: steps and output are in the order of the agent's clock, and
    /// two of one millisecond have none.
    last: u64,
}

impl TestAgent {
    /// Opens a connection; the error is how the handshake was refused.
    pub(crate) async fn connect(
        stack: &StackFile,
        handshake: &Handshake,
        spelling: Spelling,
    ) -> Result<Self, Error> {
        Self::connect_to(&stack.websocket_url, handshake, spelling).await
    }

    /// Opens a connection to an address of its own.
    pub(crate) async fn connect_to(
        url: &str,
        handshake: &Handshake,
        spelling: Spelling,
    ) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        for (name, value) in &handshake.0 {
            let value = HeaderValue::from_str(value).expect("a header's value");
            request.headers_mut().insert(*name, value);
        }
        let (socket, _) = connect_async(request).await?;
        let (sink, stream) = socket.split();
        Ok(Self {
            sink,
            stream,
            inbox: VecDeque::new(),
            goodbye: None,
            spelling,
            last: 0,
        })
    }

    /// A message as it goes over the wire, not yet sent.
    pub(crate) fn message(&mut self, kind: &str, payload: &Value) -> Value {
        self.last = SystemClock.now().as_millis().max(self.last + 1);
        json!({
            "id": format!("m-{}", unique()),
            "type": self.spelling.write(kind),
            "payload": payload,
            "timestamp": self.last,
        })
    }

    /// Sends a text, message or not.
    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        let text = Message::text(text.into());
        self.sink.send(text).await.expect("an open connection");
    }

    /// Sends a message; gives its id.
    pub(crate) async fn send(&mut self, kind: &str, payload: Value) -> String {
        let message = self.message(kind, &payload);
        self.send_text(message.to_string()).await;
        message["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Sends a text in frames of at most so many bytes. The cloud may close the connection in the
    /// middle of it.
    pub(crate) async fn send_in_frames(&mut self, text: &str, bytes: usize) {
        let mut opcode = Data::Text;
        let mut parts = text.as_bytes().chunks(bytes).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let frame = Frame::message(part.to_vec(), OpCode::Data(opcode), last);
            if self.sink.send(Message::Frame(frame)).await.is_err() {
                return;
            }
            opcode = Data::Continue;
        }
    }

    /// AGENT_STATUS, with no active task.
    pub(crate) async fn report(&mut self, agent_id: &str, status: &str, capacity: u32) -> String {
        self.report_with(agent_id, status, capacity, &[]).await
    }

    /// AGENT_STATUS, with the tasks that the agent holds.
    pub(crate) async fn report_with(
        &mut self,
        agent_id: &str,
        status: &str,
        capacity: u32,
        tasks: &[&str],
    ) -> String {
        let payload = json!({
            "agentId": agent_id, "status": status, "activeTasks": tasks, "capacity": capacity,
            "version": "1.2.3",
        });
        self.send("AGENT_STATUS", payload).await
    }

    /// The next message of a kind, spelled as the agent spells; others wait for their turn.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        self.expect_where(kind, |_| true).await
    }

    /// The next message of a kind whose payload is as wanted.
    pub(crate) async fn expect_where(
        &mut self,
        kind: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let spelled = self.spelling.write(kind);
        let is_it = |message: &Value| message["type"] == *spelled && wanted(&message["payload"]);
        if let Some(at) = self.inbox.iter().position(is_it) {
            return self.inbox.remove(at).expect("it was there")["payload"].take();
        }
        loop {
            match timeout(LIMIT, self.next()).await {
                Ok(Some(mut message)) if is_it(&message) => return message["payload"].take(),
                Ok(Some(message)) => self.inbox.push_back(message),
                Ok(None) => panic!("closed instead of {spelled}; there was {:#?}", self.inbox),
                Err(Elapsed { .. }) => panic!("no {spelled} came; there was {:#?}", self.inbox),
            }
        }
    }

    /// The next message; nothing once the connection is closed.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("JSON from the cloud"));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.goodbye = frame.map(|frame| frame.code.into());
                    return None;
                }
                Some(Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Returns once the cloud has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let closing = async {
            while let Some(message) = self.next().await {
                self.inbox.push_back(message);
            }
        };
        let closed = timeout(LIMIT, closing).await.is_ok();
        assert!(
            closed,
            "the connection stays open; there was {:#?}",
            self.inbox
        );
    }

    /// The code that the cloud closes the connection with; nothing if it goes without a goodbye.
    pub(crate) async fn closed_with(&mut self) -> Option<u16> {
        self.closed().await;
        self.goodbye
    }

    /// Closes the connection.
    pub(crate) async fn close(mut self) {
        self.sink.close().await.expect("a connection to close");
    }

    /// Fails unless the cloud still answers over this connection. What was sent before has been
    /// handled by then, and what came in answer is in the inbox.
    pub(crate) async fn is_heard(&mut self) {
        self.send("HEARTBEAT_PING", json!({})).await;
        let pong = self.expect("HEARTBEAT_PONG").await;
        assert!(pong["serverTime"].is_u64(), "{pong}");
    }

    /// Answers the cloud's next ping.
    pub(crate) async fn echo(&mut self, agent_id: &str) {
        let ping = self.expect("HEARTBEAT_PING").await;
        let answer = json!({
            "agentId": agent_id, "serverTime": ping["serverTime"], "activeTasks": 0,
            "cpuUsage": 0, "memoryUsage": 0,
        });
        self.send("HEARTBEAT_PONG", answer).await;
    }

    /// The messages of a kind that came and were not asked for.
    pub(crate) fn unread(&self, kind: &str) -> Vec<&Value> {
        let spelled = self.spelling.write(kind);
        self.inbox
            .iter()
            .filter(|message| message["type"] == *spelled)
            .collect()
    }
}
