//! One agent's connection, on the cloud's side.

use std::collections::VecDeque;

use bematic_protocol::{
    ids::{IdGenerator, RandomIds, TaskId},
    messages::{
        AgentMessage, AgentStatus, CloudMessage, Envelope, Heartbeat, MessageAck, SystemError,
        TaskCancel, TaskSubmit, TypeSpelling, decode, limits,
    },
    time::{Clock, SystemClock},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{TIME_LIMIT, cloud::authorize};

/// A connected agent.
pub(crate) struct Connection {
    socket: WebSocketStream<TcpStream>,
    /// Whether terminal messages are confirmed on arrival.
    pub(crate) confirms: bool,
    /// Whether heartbeats are answered.
    pub(crate) answers: bool,
    early: VecDeque<Envelope<AgentMessage>>,
}

/// The messages about a task until its end.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    pub(crate) output: String,
    pub(crate) steps: Vec<String>,
    pub(crate) percents: Vec<f64>,
    pub(crate) seqs: Vec<u64>,
}

impl Connection {
    /// Shakes hands with an agent whose key is good; refuses others with 401.
    pub(super) async fn open(stream: TcpStream) -> Option<Self> {
        let config = WebSocketConfig::default()
            .max_frame_size(Some(limits::MAX_FRAME_BYTES))
            .max_message_size(Some(limits::MAX_MESSAGE_BYTES));
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
    pub(crate) async fn with_status(stream: TcpStream) -> (Self, AgentStatus) {
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
        let text = envelope.encode(TypeSpelling::Canonical).unwrap();
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

    /// Sends SYSTEM_ERROR about a message.
    pub(crate) async fn refuse(&mut self, refused: &Envelope<AgentMessage>, code: &str) {
        let error = SystemError {
            code: code.to_owned(),
            message: "not right now".to_owned(),
            message_id: Some(refused.id.clone()),
        };
        self.send(CloudMessage::SystemError(error)).await;
    }

    /// Sends API Gateway's error for a message whose function failed.
    pub(crate) async fn gateway_error(&mut self) {
        let text = r#"{"message": "Internal server error", "connectionId":"c=", "requestId":"r="}"#;
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Awaits the next message; terminal messages are confirmed on arrival, unless that is off.
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

    /// Cuts the connection without a closing handshake.
    pub(crate) async fn cut(&mut self) {
        self.socket.get_mut().shutdown().await.unwrap();
    }

    /// Closes the connection as API Gateway does; returns all messages that no test has read.
    pub(crate) async fn close(mut self) -> Vec<Envelope<AgentMessage>> {
        self.socket.close(None).await.unwrap();
        let mut rest: Vec<_> = self.early.drain(..).collect();
        while let Some(envelope) = self.receive().await {
            rest.push(envelope);
        }
        rest
    }

    /// Whether a message of that kind is kept for later.
    pub(crate) fn has_kept(&self, kind: impl Fn(&AgentMessage) -> bool) -> bool {
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
            let message = timeout(TIME_LIMIT, self.socket.next())
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

    /// Reads until a task's terminal message, and collects the messages about the task.
    pub(crate) async fn transcript(
        &mut self,
        task: TaskId,
    ) -> (Transcript, Envelope<AgentMessage>) {
        let mut transcript = Transcript::default();
        loop {
            let envelope = self.next().await;
            match &envelope.message {
                AgentMessage::TaskStream(stream) if stream.task_id == task => {
                    transcript.output.push_str(&stream.delta);
                    transcript.seqs.extend(stream.seq);
                }
                AgentMessage::TaskProgress(progress) if progress.task_id == task => {
                    transcript
                        .steps
                        .extend(progress.steps.clone().unwrap_or_default());
                    transcript.percents.extend(progress.progress);
                }
                message if ends(message) == Some(task) => return (transcript, envelope),
                _ => {}
            }
        }
    }

    /// Awaits a task's terminal message, keeping all others for later.
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
