//! An agent of the bench's: it connects and says what it is told to say.

use anyhow::{Result, bail};
use bematic::ids::{AgentId, Attempt, Ids as _, TaskId};
use bematic::protocol::{
    AgentMessage, AgentStatus, AuthRequest, Availability, Envelope, HeartbeatReport,
    HeartbeatSignal, Spelling, StepKind, TaskAck, TaskCancelled, TaskComplete, TaskFailure,
    TaskProgress, TaskStream,
};
use bematic::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::events::{self, Socket};
use crate::log::Kind;
use crate::stage::{Cue, MESSAGES, Stage};

/// An agent with its connection.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    key: String,
    pub(crate) socket: Socket,
    by_header: bool,
}

/// A task that the agent was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) task: TaskId,
    attempt: Attempt,
}

impl Agent {
    /// Connects with its key in the handshake.
    pub(crate) async fn connect(stage: &mut Stage, id: AgentId, key: String) -> Result<Self> {
        let mut agent = Self::new(stage, id, key, true);
        let credentials = (agent.id.as_str(), agent.key.as_str());
        let event = events::handshake(&agent.socket, Some(credentials));
        let kind = Kind::when("$connect", "authorizer");
        let allowed = stage.invoke(Cue::new("ws-authorizer", kind, event)).await?;
        agent.socket.authorizer = allowed["context"].clone();
        agent.open(stage, Kind::of("$connect")).await?;
        Ok(agent)
    }

    /// Connects without it, and says it in the first message.
    pub(crate) async fn connect_in_band(
        stage: &mut Stage,
        id: AgentId,
        key: String,
    ) -> Result<Self> {
        let mut agent = Self::new(stage, id, key, false);
        let event = events::handshake(&agent.socket, None);
        let kind = Kind::when("$connect", "authorizer, without a key");
        let allowed = stage.invoke(Cue::new("ws-authorizer", kind, event)).await?;
        agent.socket.authorizer = allowed["context"].clone();
        let kind = Kind::when("$connect", "without a key");
        agent.open(stage, kind).await?;
        let request = AuthRequest {
            agent_id: agent.id.clone(),
            api_key: agent.key.clone(),
            version: "1.0.0".into(),
            capabilities: None,
        };
        let kind = Kind::of("AUTH_REQUEST");
        agent
            .say(stage, kind, AgentMessage::AuthRequest(request))
            .await?;
        Ok(agent)
    }

    fn new(stage: &Stage, id: AgentId, key: String, by_header: bool) -> Self {
        let socket = Socket {
            connection: format!("{}=", stage.id()),
            authorizer: json!({}),
            connected_at: SystemClock.now().as_millis(),
        };
        Self {
            id,
            key,
            socket,
            by_header,
        }
    }

    async fn open(&self, stage: &mut Stage, kind: Kind) -> Result<()> {
        let event = events::socket_event(&self.socket, "$connect", None);
        let answer = stage.invoke(Cue::new("ws-connect", kind, event)).await?;
        if answer["statusCode"] != 200 {
            bail!("ws-connect refused the bench's agent: {answer}");
        }
        Ok(())
    }

    /// The connection ends.
    pub(crate) async fn disconnect(&self, stage: &mut Stage) -> Result<()> {
        let case = "without a key";
        let kind = if self.by_header {
            Kind::of("$disconnect")
        } else {
            Kind::when("$disconnect", case)
        };
        let event = events::socket_event(&self.socket, "$disconnect", None);
        stage.invoke(Cue::new("ws-disconnect", kind, event)).await?;
        Ok(())
    }

    async fn say(&self, stage: &mut Stage, kind: Kind, message: AgentMessage) -> Result<()> {
        let envelope = Envelope {
            id: stage.ids.message(),
            timestamp: SystemClock.now(),
            message,
        };
        let text = envelope.encode(Spelling::Canonical)?;
        let event = events::socket_event(&self.socket, "$default", Some(&text));
        let before = stage.refreshes();
        let cue = Cue {
            bytes: text.len(),
            by_header: self.by_header,
            ..Cue::new(MESSAGES, kind, event)
        };
        let answer = stage.invoke(cue).await?;
        stage.note_told(&before);
        let posted = stage.take_posted(&self.socket.connection);
        let complaint = posted.iter().find(|it| it["type"] == "SYSTEM_ERROR");
        if answer["statusCode"] != 200 || complaint.is_some() {
            bail!("{} was refused: {answer} {complaint:?}", kind.name);
        }
        Ok(())
    }

    pub(crate) async fn status(&self, stage: &mut Stage, kind: Kind) -> Result<()> {
        let status = AgentStatus {
            agent_id: self.id.clone(),
            status: Availability::Online,
            active_tasks: Vec::new(),
            capacity: 5,
            version: Some("1.0.0".into()),
            resource_status: None,
        };
        self.say(stage, kind, AgentMessage::AgentStatus(status))
            .await
    }

    pub(crate) async fn ping(&self, stage: &mut Stage, kind: Kind) -> Result<()> {
        let ping = HeartbeatSignal {
            server_time: None,
            tasks: Some(Vec::new()),
        };
        self.say(stage, kind, AgentMessage::HeartbeatPing(ping))
            .await
    }

    pub(crate) async fn pong(&self, stage: &mut Stage) -> Result<()> {
        let pong = HeartbeatReport {
            agent_id: self.id.clone(),
            server_time: SystemClock.now(),
            active_tasks: 0,
            cpu_usage: 0.25,
            memory_usage: 0.5,
            tasks: Some(Vec::new()),
        };
        let kind = Kind::of("HEARTBEAT_PONG");
        self.say(stage, kind, AgentMessage::HeartbeatPong(pong))
            .await
    }

    /// The task that was just sent.
    pub(crate) fn given(&self, stage: &mut Stage) -> Result<Given> {
        let posted = stage.take_posted(&self.socket.connection);
        let submit = posted.iter().find(|it| it["type"] == "TASK_SUBMIT");
        let field = |name: &str| submit.map(|it| it["payload"][name].clone());
        let read = |name: &str| field(name).unwrap_or(Value::Null);
        let task = serde_json::from_value(read("taskId"));
        let attempt = serde_json::from_value(read("attempt"));
        match (task, attempt) {
            (Ok(task), Ok(attempt)) => Ok(Given { task, attempt }),
            _ => bail!("the dispatcher sent no task to the bench's agent, but {posted:?}"),
        }
    }

    pub(crate) async fn accept(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let ack = TaskAck {
            task_id: given.task,
            attempt: Some(given.attempt),
            accepted: true,
            reason: None,
            retryable: true,
            spent: true,
            queue_position: None,
        };
        let kind = Kind::of("TASK_ACK");
        self.say(stage, kind, AgentMessage::TaskAck(ack)).await
    }

    pub(crate) async fn progress(&self, stage: &mut Stage, given: Given, n: u64) -> Result<()> {
        let progress = TaskProgress {
            task_id: given.task,
            attempt: Some(given.attempt),
            progress: Some(5.0),
            message: Some(format!("Step {n}: reading src/login.py and its tests")),
            steps: None,
            kind: StepKind::ToolUse,
            timestamp: None,
        };
        let kind = reported(stage, given, "TASK_PROGRESS");
        self.say(stage, kind, AgentMessage::TaskProgress(progress))
            .await
    }

    pub(crate) async fn stream(&self, stage: &mut Stage, given: Given, seq: u64) -> Result<()> {
        let line = format!("{seq}: the session is renewed when the user comes back in time. ");
        let stream = TaskStream {
            task_id: given.task,
            attempt: Some(given.attempt),
            delta: format!("{}\n", line.repeat(4)),
            seq: Some(seq),
            timestamp: None,
        };
        let kind = reported(stage, given, "TASK_STREAM");
        self.say(stage, kind, AgentMessage::TaskStream(stream))
            .await
    }

    pub(crate) async fn complete(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let line = "- `login.py`: the session is renewed on every request, as the test asks for\n";
        let complete = TaskComplete {
            task_id: given.task,
            attempt: Some(given.attempt),
            result: format!("The login bug is fixed.\n\n{}", line.repeat(8)),
            session_id: Some("0198c0de-0000-7000-8000-00000000cafe".into()),
            input_tokens: 18_234,
            output_tokens: 2_871,
            estimated_cost: 0.21,
            files_changed: vec!["src/login.py".into(), "tests/test_login.py".into()],
            commands_run: vec!["pytest -q".into()],
            duration_ms: 11_000,
            continuations: None,
            attachment_results: None,
            model: Some("default".into()),
        };
        let kind = Kind::of("TASK_COMPLETE");
        self.say(stage, kind, AgentMessage::TaskComplete(complete))
            .await
    }

    pub(crate) async fn fail(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let failure = TaskFailure {
            task_id: given.task,
            attempt: Some(given.attempt),
            error: "the tests still fail".into(),
            recoverable: false,
            session_id: None,
            fault: bematic::protocol::Fault::Task,
        };
        let kind = Kind::of("TASK_ERROR");
        self.say(stage, kind, AgentMessage::TaskError(failure))
            .await
    }

    pub(crate) async fn cancelled(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let cancelled = TaskCancelled {
            task_id: given.task,
            attempt: Some(given.attempt),
            reason: Some("stopped on the machine".into()),
        };
        let kind = Kind::of("TASK_CANCELLED");
        self.say(stage, kind, AgentMessage::TaskCancelled(cancelled))
            .await
    }
}

/// What is told apart of reports: whether the notifier is about to hear of the task anyway.
fn reported(stage: &Stage, given: Given, name: &'static str) -> Kind {
    if stage.is_under_way(&given.task.to_string()) {
        Kind::when(name, UNDER_WAY)
    } else {
        Kind::of(name)
    }
}

/// The case of a report of a task that the notifier is about to hear of.
pub(crate) const UNDER_WAY: &str = "refresh under way";
