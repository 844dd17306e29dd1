//! One agent's connection, as its cloud sees it.

use std::collections::VecDeque;

use bematic_protocol::{
    ids::{Ids, RandomIds, TaskId},
    messages::{
        AgentMessage, AgentStatus, CloudMessage, Envelope, Heartbeat, MessageAck, Spelling,
        SystemError, TaskCancel, TaskSubmit, decode, limits,
    },
    time::{Clock, SystemClock},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{PATIENCE, cloud::authorize};

/// A connected agent.
pub(crate) struct Connection {
    socket: WebSocketStream<TcpStream>,
    /// Whether results are confirmed as they come.
    pub(crate) confirms: bool,
    /// Whether heartbeats are answered.
    pub(crate) answers: bool,
    early: VecDeque<Envelope<AgentMessage>>,
}

/// What an agent said of a task until its end.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) output: String,
    pub(crate) steps: Vec<String>,
    pub(crate) percents: Vec<f64>,
    pub(crate) seqs: Vec<u64>,
}

impl Connection {
    /// Shakes hands with an agent whose key is good; refuses others with 401.
    pub(super) async fn open(stream: TcpStream) -> Option<Self> {
        let config = WebSocketConfig::default()
            .max_frame_size(Some(limits::FRAME_BYTES))
            .max_message_size(Some(limits::MESSAGE_BYTES));
        let socket = accept_hdr_async_with_config(stream, authorize, Some(config))
            .await
            .ok()?;
        Some(Self {
            socket,
            confirms: true,
            answers: true,
            early: VecDeque::new(),
        })
    }

    /// Shakes hands, and waits for AGENT_STATUS, which comes first.
    pub(crate) async fn greeted(stream: TcpStream) -> (Self, AgentStatus) {
        let mut connection = Self::open(stream).await.expect("the handshake");
        let AgentMessage::AgentStatus(status) = connection.next().await.message else {
            panic!("the first message is not AGENT_STATUS");
        };
        (connection, status)
    }

    pub(crate) async fn send(&mut self, message: CloudMessage) {
        let envelope = Envelope {
            id: RandomIds.message(),
            timestamp: SystemClock.now(),
            message,
        };
        let text = envelope.encode(Spelling::Canonical).unwrap();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn submit(&mut self, submit: &TaskSubmit) {
        self.send(CloudMessage::TaskSubmit(Box::new(submit.clone())))
            .await;
    }

    pub(crate) async fn cancel(&mut self, task: TaskId) {
        let cancel = TaskCancel {
            task_id: task,
            reason: "not needed".to_owned(),
        };
        self.send(CloudMessage::TaskCancel(cancel)).await;
    }

    /// Says that a message could not be handled.
    pub(crate) async fn refuse(&mut self, refused: &Envelope<AgentMessage>, code: &str) {
        let error = SystemError {
            code: code.to_owned(),
            message: "not right now".to_owned(),
            message_id: Some(refused.id.clone()),
        };
        self.send(CloudMessage::SystemError(error)).await;
    }

    /// Says what API Gateway says when a message's function failed.
    pub(crate) async fn gateway_error(&mut self) {
        let text = r#"{"message": "Internal server error", "connectionId":"c=", "requestId":"r="}"#;
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message; results are confirmed as they come, unless that is off.
    pub(crate) async fn next(&mut self) -> Envelope<AgentMessage> {
        match self.early.pop_front() {
            Some(envelope) => envelope,
            None => self.read().await.expect("another message"),
        }
    }

    /// Waits until the agent has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.read().await.is_some() {}
    }

    /// Ends the connection without a word.
    pub(crate) async fn cut(&mut self) {
        self.socket.get_mut().shutdown().await.unwrap();
    }

    /// Closes the connection as API Gateway does; returns all that was not looked at.
    pub(crate) async fn close(mut self) -> Vec<Envelope<AgentMessage>> {
        self.socket.close(None).await.unwrap();
        let mut rest: Vec<_> = self.early.drain(..).collect();
        while let Some(envelope) = self.receive().await {
            rest.push(envelope);
        }
        rest
    }

    /// Whether something of that kind is kept for later.
    pub(crate) fn has_heard(&self, kind: impl Fn(&AgentMessage) -> bool) -> bool {
        self.early.iter().any(|envelope| kind(&envelope.message))
    }

    /// Reads and answers, keeping all for later, until the agent closes the connection.
    pub(crate) async fn serve(&mut self) {
        while let Some(envelope) = self.receive().await {
            self.early.push_back(envelope.clone());
            self.respond(&envelope).await;
        }
    }

    async fn read(&mut self) -> Option<Envelope<AgentMessage>> {
        let envelope = self.receive().await?;
        self.respond(&envelope).await;
        Some(envelope)
    }

    async fn receive(&mut self) -> Option<Envelope<AgentMessage>> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("a message in time")?;
            match message {
                Ok(Message::Text(text)) => return Some(decode(&text).unwrap().0),
                Ok(_) => {}
                Err(error) => panic!("the agent broke a limit or the connection: {error}"),
            }
        }
    }

    async fn respond(&mut self, to: &Envelope<AgentMessage>) {
        match &to.message {
            message if is_terminal(message) && self.confirms => {
                let message_id = to.id.clone();
                self.send(CloudMessage::MessageAck(MessageAck { message_id }))
                    .await;
            }
            AgentMessage::HeartbeatPing(_) if self.answers => {
                self.send(CloudMessage::HeartbeatPong(Heartbeat::default()))
                    .await;
            }
            _ => {}
        }
    }

    /// The next message that `wanted` finds, keeping the others for later.
    pub(crate) async fn find<T>(&mut self, wanted: impl Fn(&AgentMessage) -> Option<T>) -> T {
        let mut passed = VecDeque::new();
        loop {
            let envelope = self.next().await;
            if let Some(found) = wanted(&envelope.message) {
                passed.extend(self.early.drain(..));
                self.early = passed;
                return found;
            }
            passed.push_back(envelope);
        }
    }

    /// Reads until a task's end, gathering what is said of it on the way.
    pub(crate) async fn story(&mut self, task: TaskId) -> (Story, Envelope<AgentMessage>) {
        let mut story = Story::default();
        loop {
            let envelope = self.next().await;
            match &envelope.message {
                AgentMessage::TaskStream(stream) if stream.task_id == task => {
                    story.output.push_str(&stream.delta);
                    story.seqs.extend(stream.seq);
                }
                AgentMessage::TaskProgress(progress) if progress.task_id == task => {
                    story
                        .steps
                        .extend(progress.steps.clone().unwrap_or_default());
                    story.percents.extend(progress.progress);
                }
                message if ends(message) == Some(task) => return (story, envelope),
                _ => {}
            }
        }
    }

    /// A task's end, keeping everything else for later.
    pub(crate) async fn end_of(&mut self, task: TaskId) -> AgentMessage {
        self.find(|message| (ends(message) == Some(task)).then(|| message.clone()))
            .await
    }

    /// Waits until a task's output so far contains `text`.
    pub(crate) async fn output_until(&mut self, task: TaskId, text: &str) {
        let mut output = String::new();
        while !output.contains(text) {
            if let AgentMessage::TaskStream(stream) = self.next().await.message
                && stream.task_id == task
            {
                output.push_str(&stream.delta);
            }
        }
    }
}

fn is_terminal(message: &AgentMessage) -> bool {
    ends(message).is_some()
}

/// The task that a message ends.
pub(crate) fn ends(message: &AgentMessage) -> Option<TaskId> {
    match message {
        AgentMessage::TaskComplete(complete) => Some(complete.task_id),
        AgentMessage::TaskError(failure) => Some(failure.task_id),
        AgentMessage::TaskCancelled(cancelled) => Some(cancelled.task_id),
        _ => None,
    }
}
