//! What is played: connections, heartbeats, tasks of every ending, and the ordinary task.

use std::time::Duration;

use anyhow::Result;
use aws_config::SdkConfig;
use bematic::agent::Route;
use bematic_admin::{Admin, Deployment, NewProject, Tables};
use bematic_protocol::ids::AgentId;
use bematic_protocol::messages::Fault;
use bematic_test_agent::Run;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::agent::Agent;
use crate::driver::Functions as _;
use crate::log::Kind;
use crate::slack::add_channel;
use crate::stage::{Deliver, Stage};
use crate::words::{self, CHUNKS, Report, STEPS};

/// How often the ordinary task says something: 11 s in all, since an agent that has something to say says it at
/// once, and more often than Slack can show it.
pub(crate) const PACE: Duration = Duration::from_millis(100);

/// The heartbeat that is written down, and one that is not.
pub(crate) const DUE: &str = "the first in a while";
pub(crate) const AGAIN: &str = "within a minute";
/// The first message that an environment sees of a connection.
pub(crate) const FIRST: &str = "first of a connection";
pub(crate) const ELSEWHERE: &str = "first in another environment";

/// The floor being busy, and with bytes exchanged in between, so often each time.
pub(crate) const BUSY: &str = "busy";
pub(crate) const EXCHANGING: &str = "exchanging";
pub(crate) const EXCHANGES: u32 = 8;

/// An agent, its key, and the channel whose tasks are its.
#[derive(Debug, Clone)]
struct Known {
    id: AgentId,
    key: String,
    channel: String,
}

/// The command that creates a task.
pub(crate) const RUN: &str = "/bm run";
/// What it says.
pub(crate) const ASKED: &str = "run fix the login bug: sessions end after an hour";

/// Makes an agent and binds a channel to it. Each round has its own, so that none finds more than
/// an ordinary agent's history.
async fn prepare(stage: &Stage, name: &str) -> Result<Known> {
    let admin = administration(stage.driver.aws.unobserved().sdk_config());
    let agent = admin
        .create_agent(format!("box-{name}").parse()?, false)
        .await?;
    let channel = format!("C0BENCH{name}").to_uppercase();
    add_channel(stage.slack(), &channel);
    bind(&admin, &channel, &agent.agent_id).await?;
    Ok(Known {
        id: agent.agent_id,
        key: agent.api_key,
        channel,
    })
}

/// The administration of the template's tables.
pub(crate) fn administration(config: SdkConfig) -> Admin {
    let tables = Tables {
        tasks: "TasksTable".into(),
        agents: "AgentsTable".into(),
    };
    Admin::new(Deployment {
        config,
        tables,
        queues: [].into(),
    })
}

/// Binds a channel to an agent.
pub(crate) async fn bind(admin: &Admin, channel: &str, agent: &AgentId) -> Result<()> {
    let wanted = NewProject {
        channel_id: channel.parse()?,
        name: "web".into(),
        route: Route::One(agent.clone()),
        local_path: "/srv/web".into(),
        model: "default".into(),
        max_budget: 5.0,
        bot_name: "Bematic".into(),
        system_prompt: String::new(),
        allowed_tools: Vec::new(),
        lease_secs: None,
    };
    admin.create_project(wanted, false).await?;
    Ok(())
}

/// Everything but the ordinary task, once. Each round has an agent of its own.
pub(crate) async fn warm(stage: &mut Stage, round: usize) -> Result<()> {
    let known = &prepare(stage, &format!("r{round}")).await?;
    connections(stage, known).await?;
    let agent = Agent::connect(stage, known.id.clone(), known.key.clone()).await?;
    agent
        .status(stage, Kind::when("AGENT_STATUS", FIRST))
        .await?;
    stage.deliver(Deliver::Now).await?;
    agent.status(stage, Kind::of("AGENT_STATUS")).await?;
    agent.ping(stage, Kind::when("HEARTBEAT_PING", DUE)).await?;
    for _ in 0..3 {
        agent
            .ping(stage, Kind::when("HEARTBEAT_PING", AGAIN))
            .await?;
    }
    agent.pong(stage).await?;
    stage.deliver(Deliver::Now).await?;
    for ending in [
        Ending::Complete,
        Ending::Fail(Fault::Agent),
        Ending::Fail(Fault::Task),
        Ending::Cancelled,
    ] {
        let script = Script {
            channel: &known.channel,
            progress: 3,
            chunks: 6,
            ending,
            pace: None,
        };
        task(stage, &agent, script).await?;
    }
    stage.deliver(Deliver::All).await?;
    agent.disconnect(stage).await?;
    stage.driver.sweep(Kind::of("sweep")).await?;
    let kind = Kind::of("/bm archive");
    command(stage, &known.channel, "archive", kind).await?;
    stage.deliver(Deliver::All).await?;
    Ok(())
}

/// The function that does nothing, a few times; and as often with some bytes exchanged.
pub(crate) async fn floor(stage: &mut Stage) -> Result<()> {
    for _ in 0..5 {
        let cases = [
            (None, 0),
            (Some(BUSY), EXCHANGES),
            (Some(EXCHANGING), EXCHANGES),
        ];
        for (case, times) in cases {
            let kind = Kind {
                name: crate::common::FLOOR,
                case,
            };
            let event = json!({ "times": times, "exchange": case == Some(EXCHANGING) });
            let functions = &stage.driver.functions;
            functions
                .invoke(crate::common::FLOOR, event, &[kind])
                .await?;
        }
    }
    Ok(())
}

/// A connection that authenticates in band.
async fn connections(stage: &mut Stage, known: &Known) -> Result<()> {
    let agent = Agent::connect_in_band(stage, known.id.clone(), known.key.clone()).await?;
    agent.status(stage, Kind::of("AGENT_STATUS")).await?;
    stage.deliver(Deliver::Now).await?;
    elsewhere(stage, &agent, &known.channel).await?;
    agent.disconnect(stage).await?;
    stage.deliver(Deliver::All).await
}

/// What two environments hear in turn: of a connection, of an attempt that the other has seen begin, and
/// of an attempt after the other has changed the agent's breaker.
async fn elsewhere(stage: &mut Stage, agent: &Agent, channel: &str) -> Result<()> {
    stage.change_environment();
    agent
        .status(stage, Kind::when("AGENT_STATUS", ELSEWHERE))
        .await?;
    agent.status(stage, Kind::of("AGENT_STATUS")).await?;
    stage.deliver(Deliver::Now).await?;
    stage.change_environment();
    let one = accepted(stage, agent, channel).await?;
    let two = accepted(stage, agent, channel).await?;
    stage.change_environment();
    agent.stream_unseen(stage, one).await?;
    agent.complete(stage, one).await?;
    stage.change_environment();
    agent.complete(stage, two).await?;
    stage.deliver(Deliver::Now).await?;
    let three = accepted(stage, agent, channel).await?;
    stage.change_environment();
    agent.complete_unseen(stage, three).await?;
    stage.deliver(Deliver::Now).await?;
    stage.change_environment();
    Ok(())
}

/// A task that the agent has accepted.
async fn accepted(stage: &mut Stage, agent: &Agent, channel: &str) -> Result<Run> {
    command(stage, channel, ASKED, Kind::of(RUN)).await?;
    stage.deliver(Deliver::Now).await?;
    let given = agent.given(stage)?;
    agent.accept(stage, given).await?;
    Ok(given)
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Complete,
    Fail(Fault),
    Cancelled,
}

async fn command(stage: &mut Stage, channel: &str, text: &str, kind: Kind) -> Result<()> {
    let trigger = stage.id();
    stage.driver.command(channel, &trigger, text, kind).await
}

/// What becomes of a task.
#[derive(Debug, Clone, Copy)]
struct Script<'a> {
    /// Where it is asked for.
    channel: &'a str,
    progress: u64,
    chunks: u64,
    ending: Ending,
    /// How often its agent says something, in real time; at once if it is not said.
    pace: Option<Duration>,
}

/// A task from its command to its end.
async fn task(stage: &mut Stage, agent: &Agent, script: Script<'_>) -> Result<()> {
    command(stage, script.channel, ASKED, Kind::of(RUN)).await?;
    let deliver = if script.pace.is_some() {
        Deliver::Due
    } else {
        Deliver::Now
    };
    stage.deliver(deliver).await?;
    let given = agent.given(stage)?;
    agent.accept(stage, given).await?;
    reports(stage, agent, given, script).await?;
    match script.ending {
        Ending::Complete => agent.complete(stage, given).await?,
        Ending::Fail(fault) => agent.fail(stage, given, fault).await?,
        Ending::Cancelled => {
            let order = format!("cancel {}", given.task_id);
            command(stage, script.channel, &order, Kind::of("/bm cancel")).await?;
            stage.deliver(deliver).await?;
            agent.cancelled(stage, given).await?;
        }
    }
    stage.deliver(deliver).await
}

/// Progress among the output, evenly.
async fn reports(stage: &mut Stage, agent: &Agent, given: Run, script: Script<'_>) -> Result<()> {
    let Script {
        progress,
        chunks,
        pace,
        ..
    } = script;
    let mut at = Instant::now();
    for report in words::reports(progress, chunks) {
        at = wait(stage, at, pace).await?;
        match report {
            Report::Step(n) => agent.progress(stage, given, n).await?,
            Report::Chunk(seq) => agent.stream(stage, given, seq).await?,
        }
    }
    Ok(())
}

/// Until the next message of the agent is due, while the queues go on.
async fn wait(stage: &mut Stage, last: Instant, pace: Option<Duration>) -> Result<Instant> {
    let Some(pace) = pace else {
        return Ok(last);
    };
    let next = last + pace;
    loop {
        stage.deliver(Deliver::Due).await?;
        match stage.next_due().map(|after| Instant::now() + after) {
            Some(due) if due < next => sleep_until(due).await,
            _ => {
                sleep_until(next).await;
                return Ok(next);
            }
        }
    }
}

/// The ordinary task, in environments that are warm: where its invocations begin in the log, and
/// the bytes of log lines that it made.
pub(crate) async fn ordinary(stage: &mut Stage) -> Result<(usize, u64)> {
    let known = prepare(stage, "ordinary").await?;
    let agent = Agent::connect(stage, known.id.clone(), known.key.clone()).await?;
    agent
        .status(stage, Kind::when("AGENT_STATUS", FIRST))
        .await?;
    stage.deliver(Deliver::All).await?;
    stage.take_posted(&agent.socket.connection);
    let (first, logged) = (stage.log().len(), stage.logged());
    let script = Script {
        channel: &known.channel,
        progress: STEPS,
        chunks: CHUNKS,
        ending: Ending::Complete,
        pace: Some(PACE),
    };
    task(stage, &agent, script).await?;
    // What is left are timers, and its last update: it is over, whenever they come.
    stage.deliver(Deliver::All).await?;
    Ok((first, stage.logged() - logged))
}
