//! A connected agent that a test drives: it sends the test's messages, and awaits expected ones.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test double that fails the test when something else comes than the test awaits"
)]

use std::collections::VecDeque;
use std::time::Duration;

use bematic_protocol::ids::{IdGenerator as _, RandomIds};
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;

use crate::TypeSpelling;
use crate::connection::{Connection, HandshakeHeaders, Incoming};
use crate::message::{AgentMessage, CloudMessage, EnvelopeSequence, Offer};

/// The longest time that an awaited message may take: far longer than usual, for a busy machine.
const EXPECT_TIMEOUT: Duration = Duration::from_mins(2);

/// A connected agent whose messages all come from the test.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    spelling: TypeSpelling,
    sequence: EnvelopeSequence,
    /// Messages that arrived and that the test has not awaited yet.
    inbox: VecDeque<CloudMessage>,
}

impl Client {
    /// Opens a connection; the error is how the handshake was refused.
    pub async fn connect(
        url: &str,
        handshake: &HandshakeHeaders,
        spelling: TypeSpelling,
    ) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::open(url, handshake).await?,
            spelling,
            sequence: EnvelopeSequence::new(RandomIds.message().as_str()),
            inbox: VecDeque::new(),
        })
    }

    /// Returns a message of any type as it goes over the wire, not yet sent.
    pub fn build_message(&mut self, kind: &str, payload: &Value) -> Value {
        let message = AgentMessage::new(kind, payload.clone());
        let sealed = self.sequence.seal(message, SystemClock.now());
        sealed.to_json_value(self.spelling)
    }

    /// Sends a text, message or not.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        let sent = self.connection.send(text).await;
        sent.expect("an open connection");
    }

    /// Sends a message of any type; returns its id.
    pub async fn send(&mut self, kind: &str, payload: Value) -> String {
        self.send_message(AgentMessage::new(kind, payload)).await
    }

    async fn send_message(&mut self, message: AgentMessage) -> String {
        let sealed = self.sequence.seal(message, SystemClock.now());
        self.send_text(sealed.text(self.spelling)).await;
        sealed.id
    }

    /// Sends a text in frames of at most so many bytes. The cloud may close the connection in the
    /// middle of it.
    pub async fn send_in_frames(&mut self, text: &str, bytes: usize) {
        self.connection.send_in_frames(text, bytes).await.ok();
    }

    /// Sends AGENT_STATUS; returns its id.
    pub async fn send_status(&mut self, agent_id: &str, capacity: usize, tasks: &[&str]) -> String {
        let status = AgentMessage::agent_status(agent_id, capacity, tasks);
        self.send_message(status).await
    }

    /// Awaits the next message of a type, spelled as the agent spells; others stay in the inbox.
    /// Returns the payload.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.next_of(kind, None).await.payload
    }

    /// Awaits the next message of a type, whose payload has this field if one is given.
    async fn next_of(&mut self, kind: &str, field: Option<(&str, &str)>) -> CloudMessage {
        let spelling = self.spelling;
        let is_it = |message: &CloudMessage| {
            let has_field = field.is_none_or(|(name, value)| message.payload[name] == value);
            message.kind == kind && message.spelling == spelling && has_field
        };
        if let Some(at) = self.inbox.iter().position(is_it) {
            return self.inbox.remove(at).expect("a message at this place");
        }
        loop {
            match timeout(EXPECT_TIMEOUT, self.next()).await {
                Ok(Ok(message)) if is_it(&message) => return message,
                Ok(Ok(message)) => self.inbox.push_back(message),
                Ok(Err(_)) => panic!("closed instead of {kind}; there was {:#?}", self.inbox),
                Err(Elapsed { .. }) => panic!("no {kind} came; there was {:#?}", self.inbox),
            }
        }
    }

    /// Awaits the next message; the error is the code that the cloud closed the connection with.
    async fn next(&mut self) -> Result<CloudMessage, Option<u16>> {
        match self.connection.next().await {
            Incoming::Text(text) => Ok(CloudMessage::read(&text).expect("a message")),
            Incoming::Closed(code) => Err(code),
        }
    }

    /// Returns once the cloud has closed the connection, with the code if there is one.
    pub async fn expect_close(&mut self) -> Option<u16> {
        let closing = async {
            loop {
                match self.next().await {
                    Ok(message) => self.inbox.push_back(message),
                    Err(code) => return code,
                }
            }
        };
        let closed = timeout(EXPECT_TIMEOUT, closing).await;
        closed.unwrap_or_else(|_| panic!("it stays open; there was {:#?}", self.inbox))
    }

    /// Closes the connection.
    pub async fn close(self) {
        let closed = self.connection.close().await;
        closed.expect("a connection to close");
    }

    /// Fails unless the cloud still answers over this connection. Messages sent before have been
    /// handled by then, and the answers to them are in the inbox.
    pub async fn ping_and_expect_pong(&mut self) {
        self.send("HEARTBEAT_PING", json!({})).await;
        let pong = self.expect("HEARTBEAT_PONG").await;
        assert!(pong["serverTime"].is_u64(), "{pong}");
    }

    /// Answers the cloud's next ping.
    pub async fn answer_next_ping(&mut self, agent_id: &str) {
        let ping = self.expect("HEARTBEAT_PING").await;
        let asked = Timestamp::from_millis(ping["serverTime"].as_u64().expect("a time"));
        let answer = AgentMessage::pong(agent_id, asked, &[""; 0]).without("tasks");
        self.send_message(answer).await;
    }

    /// Returns the messages of a type that arrived and that the test has not awaited.
    pub fn unread(&self, kind: &str) -> Vec<&CloudMessage> {
        let of_kind = self.inbox.iter().filter(|message| message.kind == kind);
        of_kind.collect()
    }

    /// Awaits the next offer, not yet acknowledged.
    pub async fn expect_offer(&mut self) -> Offer {
        let submit = self.next_of("TASK_SUBMIT", None).await;
        submit.offer().expect("a task and an attempt")
    }

    /// Awaits the next offer, and acknowledges it.
    pub async fn accept_next_offer(&mut self) -> Offer {
        let offer = self.expect_offer().await;
        self.send_message(AgentMessage::ack(offer.run_key())).await;
        offer
    }

    /// Completes an attempt; returns once the cloud has confirmed it.
    pub async fn complete(&mut self, offer: &Offer, result: &str) {
        let complete = AgentMessage::complete(offer.run_key(), result);
        let id = self.send_message(complete).await;
        self.expect_confirmation(&id).await;
    }

    /// Refuses an offer; returns once the cloud has handled that.
    pub async fn refuse(&mut self, offer: &Offer, reason: &str) {
        let refusal = AgentMessage::rejecting_ack(offer.run_key(), reason);
        self.send_message(refusal).await;
        self.ping_and_expect_pong().await;
    }

    /// Awaits the cancellation of a task; returns the reason.
    pub async fn expect_cancel(&mut self, task: &str) -> String {
        let of_task = Some(("taskId", task));
        let cancel = self.next_of("TASK_CANCEL", of_task).await;
        cancel.field("reason").expect("a reason")
    }

    /// Awaits the cloud's confirmation of a message.
    pub async fn expect_confirmation(&mut self, id: &str) {
        let of_message = Some(("messageId", id));
        self.next_of("MESSAGE_ACK", of_message).await;
    }

    /// Awaits the SYSTEM_ERROR about a message; fails unless it has this code.
    pub async fn expect_error(&mut self, id: &str, code: &str) {
        let of_message = Some(("messageId", id));
        let error = self.next_of("SYSTEM_ERROR", of_message).await;
        assert_eq!(error.payload["code"], code, "{error:?}");
        let text: Option<String> = error.field("message");
        assert!(text.is_some_and(|text| !text.is_empty()), "{error:?}");
    }
}
