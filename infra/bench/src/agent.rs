//! An agent of the bench's: it connects and says what it is told to say.

use anyhow::{Result, bail};
use bematic_protocol::ids::{AgentId, Ids as _};
use bematic_protocol::messages::{AgentMessage, Envelope, Fault, Spelling};
use bematic_protocol::time::{Clock as _, SystemClock};
use serde_json::json;

use crate::events::{self, Socket};
use crate::log::Kind;
use crate::stage::{Cue, HEARTBEATS, MESSAGES, Stage};
use crate::words::{self, Given};

/// An agent with its connection.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    key: String,
    pub(crate) socket: Socket,
    by_header: bool,
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
        let kind = Kind::when("$connect", IN_BAND);
        agent.open(stage, kind).await?;
        let kind = Kind::of("AUTH_REQUEST");
        agent
            .say(stage, kind, words::auth_request(&agent.id, &agent.key))
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
        let kind = if self.by_header {
            Kind::of("$disconnect")
        } else {
            Kind::when("$disconnect", IN_BAND)
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
        // As the template's routes say.
        let function = match kind.name {
            "HEARTBEAT_PING" | "HEARTBEAT_PONG" => HEARTBEATS,
            _ => MESSAGES,
        };
        let cue = Cue {
            bytes: text.len(),
            by_header: self.by_header,
            ..Cue::new(function, kind, event)
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
        self.say(stage, kind, words::status(&self.id)).await
    }

    pub(crate) async fn ping(&self, stage: &mut Stage, kind: Kind) -> Result<()> {
        self.say(stage, kind, words::ping(Vec::new())).await
    }

    pub(crate) async fn pong(&self, stage: &mut Stage) -> Result<()> {
        let pong = words::pong(&self.id, SystemClock.now(), Vec::new());
        let kind = Kind::of("HEARTBEAT_PONG");
        self.say(stage, kind, pong).await
    }

    /// The task that was just sent.
    pub(crate) fn given(&self, stage: &mut Stage) -> Result<Given> {
        let posted = stage.take_posted(&self.socket.connection);
        match posted.iter().find_map(Given::of) {
            Some(given) => Ok(given),
            None => bail!("the dispatcher sent no task to the bench's agent, but {posted:?}"),
        }
    }

    pub(crate) async fn accept(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let kind = Kind::of("TASK_ACK");
        self.say(stage, kind, words::ack(given)).await
    }

    pub(crate) async fn progress(&self, stage: &mut Stage, given: Given, n: u64) -> Result<()> {
        let kind = reported(stage, given, "TASK_PROGRESS");
        self.say(stage, kind, words::progress(given, n)).await
    }

    pub(crate) async fn stream(&self, stage: &mut Stage, given: Given, seq: u64) -> Result<()> {
        let kind = reported(stage, given, "TASK_STREAM");
        self.say(stage, kind, words::stream(given, seq)).await
    }

    /// The first that an environment hears of the attempt.
    pub(crate) async fn stream_unseen(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let kind = Kind::when("TASK_STREAM", UNSEEN);
        self.say(stage, kind, words::stream(given, 0)).await
    }

    pub(crate) async fn complete(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let kind = Kind::of("TASK_COMPLETE");
        self.say(stage, kind, words::complete(given)).await
    }

    pub(crate) async fn fail(&self, stage: &mut Stage, given: Given, fault: Fault) -> Result<()> {
        let kind = match fault {
            Fault::Agent => Kind::of("TASK_ERROR"),
            Fault::Task => Kind::when("TASK_ERROR", "the task's own"),
        };
        self.say(stage, kind, words::failure(given, fault)).await
    }

    pub(crate) async fn cancelled(&self, stage: &mut Stage, given: Given) -> Result<()> {
        let kind = Kind::of("TASK_CANCELLED");
        self.say(stage, kind, words::cancelled(given)).await
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

/// The case of a connection that authenticates in band.
pub(crate) const IN_BAND: &str = "without a key";
/// The case of a report of an attempt that its environment has not seen begin.
pub(crate) const UNSEEN: &str = "first of an attempt elsewhere";
/// The case of a report of a task that the notifier is about to hear of.
pub(crate) const UNDER_WAY: &str = "refresh under way";
