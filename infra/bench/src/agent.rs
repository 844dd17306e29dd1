//! The bench's agent: it connects, and sends what the scenario asks for.

use anyhow::{Result, bail};
use bematic_protocol::ids::{AgentId, Ids as _};
use bematic_protocol::messages::Fault;
use bematic_protocol::time::{Clock as _, SystemClock};
use bematic_test_agent::{CloudMessage, Message, Run, Spelling};
use serde_json::Value;

use crate::events::Socket;
use crate::log::Kind;
use crate::stage::Stage;
use crate::words;

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
        let kinds = [Kind::when("$connect", "authorizer"), Kind::of("$connect")];
        Self::open(stage, id, key, (true, kinds)).await
    }

    /// Connects without it, and says it in the first message.
    pub(crate) async fn connect_in_band(
        stage: &mut Stage,
        id: AgentId,
        key: String,
    ) -> Result<Self> {
        let authorizer = Kind::when("$connect", "authorizer, without a key");
        let kinds = [authorizer, Kind::when("$connect", IN_BAND)];
        let agent = Self::open(stage, id, key, (false, kinds)).await?;
        let request = Message::auth_request(agent.id.as_str(), &agent.key);
        agent.say(stage, Kind::of("AUTH_REQUEST"), request).await?;
        Ok(agent)
    }

    async fn open(
        stage: &Stage,
        id: AgentId,
        key: String,
        (by_header, kinds): (bool, [Kind; 2]),
    ) -> Result<Self> {
        let connection = format!("{}=", stage.id());
        let credentials = by_header.then_some((id.as_str(), key.as_str()));
        let socket = stage.driver.connect(&connection, credentials, kinds);
        Ok(Self {
            socket: socket.await?,
            id,
            key,
            by_header,
        })
    }

    /// The connection ends.
    pub(crate) async fn disconnect(&self, stage: &mut Stage) -> Result<()> {
        let kind = if self.by_header {
            Kind::of("$disconnect")
        } else {
            Kind::when("$disconnect", IN_BAND)
        };
        stage.driver.disconnect(&self.socket, kind).await
    }

    async fn say(&self, stage: &mut Stage, kind: Kind, message: Message) -> Result<()> {
        let id = stage.ids.message();
        let message = message.sent(id.as_str(), SystemClock.now());
        let text = message.text(Spelling::Canonical);
        let before = stage.refreshes();
        let answer = stage.driver.message(&self.socket, &text, kind).await?;
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
        self.say(stage, kind, Message::ping(&[""; 0])).await
    }

    pub(crate) async fn pong(&self, stage: &mut Stage) -> Result<()> {
        let pong = Message::pong(self.id.as_str(), SystemClock.now(), &[""; 0]);
        let kind = Kind::of("HEARTBEAT_PONG");
        self.say(stage, kind, pong).await
    }

    /// The task that was just sent.
    pub(crate) fn given(&self, stage: &mut Stage) -> Result<Run> {
        let posted = stage.take_posted(&self.socket.connection);
        let read = |message: &Value| CloudMessage::read(&message.to_string()).ok()?.offer();
        match posted.iter().find_map(read) {
            Some(offer) => Ok(offer.run()),
            None => bail!("the dispatcher sent no task to the bench's agent, but {posted:?}"),
        }
    }

    pub(crate) async fn accept(&self, stage: &mut Stage, run: Run) -> Result<()> {
        let kind = Kind::of("TASK_ACK");
        self.say(stage, kind, Message::ack(run)).await
    }

    pub(crate) async fn progress(&self, stage: &mut Stage, run: Run, n: u64) -> Result<()> {
        let kind = reported(stage, run, "TASK_PROGRESS");
        self.say(stage, kind, words::progress(run, n)).await
    }

    pub(crate) async fn stream(&self, stage: &mut Stage, run: Run, seq: u64) -> Result<()> {
        let kind = reported(stage, run, "TASK_STREAM");
        self.say(stage, kind, words::stream(run, seq)).await
    }

    /// The first that an environment hears of the attempt.
    pub(crate) async fn stream_unseen(&self, stage: &mut Stage, run: Run) -> Result<()> {
        let kind = Kind::when("TASK_STREAM", UNSEEN);
        self.say(stage, kind, words::stream(run, 0)).await
    }

    pub(crate) async fn complete(&self, stage: &mut Stage, run: Run) -> Result<()> {
        let kind = Kind::of("TASK_COMPLETE");
        self.say(stage, kind, words::complete(run)).await
    }

    /// From an environment that has not seen the attempt.
    pub(crate) async fn complete_unseen(&self, stage: &mut Stage, run: Run) -> Result<()> {
        let kind = Kind::when("TASK_COMPLETE", UNSEEN);
        self.say(stage, kind, words::complete(run)).await
    }

    pub(crate) async fn fail(&self, stage: &mut Stage, run: Run, fault: Fault) -> Result<()> {
        let kind = match fault {
            Fault::Agent => Kind::of("TASK_ERROR"),
            Fault::Task => Kind::when("TASK_ERROR", "the task's own"),
        };
        self.say(stage, kind, words::failure(run, fault)).await
    }

    pub(crate) async fn cancelled(&self, stage: &mut Stage, run: Run) -> Result<()> {
        // The environment has not seen the request to cancel, which the webhook has written.
        let kind = Kind::when("TASK_CANCELLED", UNSEEN);
        self.say(
            stage,
            kind,
            Message::cancelled(run, "stopped on the machine"),
        )
        .await
    }
}

/// What is told apart of reports: whether the notifier is about to hear of the task anyway.
fn reported(stage: &Stage, run: Run, name: &'static str) -> Kind {
    if stage.is_under_way(&run.task_id.to_string()) {
        Kind::when(name, UNDER_WAY)
    } else {
        Kind::of(name)
    }
}

/// The case of a connection that authenticates in band.
pub(crate) const IN_BAND: &str = "without a key";
/// The case of a message about an attempt, or a request to cancel it, that its environment has not
/// seen.
pub(crate) const UNSEEN: &str = "not seen in this environment";
/// The case of a report of a task that the notifier is about to hear of.
pub(crate) const UNDER_WAY: &str = "refresh under way";
