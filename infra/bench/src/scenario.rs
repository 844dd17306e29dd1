//! The scenario: connections, heartbeats, tasks of every outcome, and the ordinary task.

use anyhow::Result;
use aws_config::SdkConfig;
use bematic::agent::Route;
use bematic_admin::{Admin, Deployment, NewProject, Tables};
use bematic_protocol::ids::{AgentId, Ids as _, RandomIds};
use bematic_protocol::messages::Fault;
use bematic_protocol::time::{Clock as _, SystemClock};
use bematic_test_agent::{Message, Run};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::agent::Agent;
use crate::agent_messages::{self as messages, CHUNKS, PACE, STEPS};
use crate::aws::add_channel;
use crate::common::FLOOR;
use crate::driver::Functions as _;
use crate::log::{Case, Kind};
use crate::prices::Prices;
use crate::report::{self, TaskRow};
use crate::testbed::Deliver::{self, All, Due, Undelayed};
use crate::testbed::Testbed;

/// A heartbeat that is stored, and one that is not.
pub(crate) const FIRST_IN_A_WHILE: Case = Some("the first in a while");
pub(crate) const WITHIN_A_MINUTE: Case = Some("within a minute");
pub(crate) const FIRST_MESSAGE: Case = Some("first of a connection");
/// The first message of a connection in another environment than the one before.
pub(crate) const OTHER_ENVIRONMENT: Case = Some("first in another environment");
/// A message about an attempt, or a request to cancel it, that its environment has not seen.
pub(crate) const UNSEEN_ATTEMPT: Case = Some("not seen in this environment");
const TASKS_OWN: Case = Some("the task's own");

/// The floor being busy, and with bytes exchanged in between, so often each time.
pub(crate) const BUSY: Case = Some("busy");
pub(crate) const EXCHANGING: Case = Some("exchanging");
pub(crate) const EXCHANGES: u32 = 8;

/// The command that creates a task, as it is reported.
pub(crate) const RUN: &str = "/bm run";
pub(crate) const RUN_TEXT: &str = "run fix the login bug: sessions end after an hour";

/// Creates an agent with a channel. Each round has its own, so that none finds a long history.
async fn agent<'a>(testbed: &'a Testbed, name: &str) -> Result<Agent<'a>> {
    let admin = admin_client(testbed.cloud.aws.unobserved().sdk_config());
    let box_name = format!("box-{name}").parse()?;
    let created = admin.create_agent(box_name, false).await?;
    let channel = format!("C0BENCH{name}").to_uppercase();
    add_channel(&testbed.server.slack, &channel);
    bind(&admin, &channel, &created.agent_id).await?;
    Ok(Agent {
        testbed,
        created,
        channel,
        socket: None,
    })
}

pub(crate) fn admin_client(config: SdkConfig) -> Admin {
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

pub(crate) async fn bind(admin: &Admin, channel: &str, agent: &AgentId) -> Result<()> {
    let project = NewProject {
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
    admin.create_project(project, false).await?;
    Ok(())
}

/// Everything but the ordinary task, once.
pub(crate) async fn everything(testbed: &Testbed, round: u16) -> Result<()> {
    let mut agent = agent(testbed, &format!("r{round}")).await?;
    in_band(testbed, &mut agent).await?;
    agent.connect().await?;
    let status = messages::status(agent.id());
    agent.send(status, FIRST_MESSAGE).await?;
    testbed.deliver(Undelayed).await?;
    agent.send(messages::status(agent.id()), None).await?;
    agent.send(messages::ping(), FIRST_IN_A_WHILE).await?;
    for _ in 0..3 {
        agent.send(messages::ping(), WITHIN_A_MINUTE).await?;
    }
    let pong = Message::pong(agent.id(), SystemClock.now(), &[""; 0]);
    agent.send(pong, None).await?;
    testbed.deliver(Undelayed).await?;
    let run = short_task(&agent).await?;
    agent.send(messages::complete(run), None).await?;
    testbed.deliver(Undelayed).await?;
    for (fault, case) in [(Fault::Agent, None), (Fault::Task, TASKS_OWN)] {
        let run = short_task(&agent).await?;
        agent.send(messages::error(run, fault), case).await?;
        testbed.deliver(Undelayed).await?;
    }
    let run = short_task(&agent).await?;
    let cancel = format!("cancel {}", run.task_id);
    send_command(&agent, &cancel, "/bm cancel").await?;
    testbed.deliver(Undelayed).await?;
    // The environment has not seen the request to cancel, which the webhook has stored.
    let cancelled = Message::cancelled(run, "stopped on the machine");
    agent.send(cancelled, UNSEEN_ATTEMPT).await?;
    testbed.deliver(Undelayed).await?;
    testbed.deliver(All).await?;
    agent.disconnect().await?;
    testbed.sweep(Kind::new("sweep", None)).await?;
    send_command(&agent, "archive", "/bm archive").await?;
    testbed.deliver(All).await
}

/// The function that does nothing, a few times; and as often with some bytes exchanged.
pub(crate) async fn floor(testbed: &Testbed) -> Result<()> {
    for _ in 0..5 {
        for (case, times) in [(None, 0), (BUSY, EXCHANGES), (EXCHANGING, EXCHANGES)] {
            let event = json!({ "times": times, "exchange": case == EXCHANGING });
            let kinds = [Kind::new(FLOOR, case)];
            testbed.invoke(FLOOR, event, &kinds).await?;
        }
    }
    Ok(())
}

/// A connection that authenticates in band, and what two environments receive in turn of it, of an attempt
/// whose begin the other has seen, and of one after the other has changed the agent's breaker.
async fn in_band(testbed: &Testbed, agent: &mut Agent<'_>) -> Result<()> {
    agent.connect_in_band().await?;
    agent.send(messages::status(agent.id()), None).await?;
    testbed.deliver(Undelayed).await?;
    testbed.change_environment();
    let status = messages::status(agent.id());
    agent.send(status.clone(), OTHER_ENVIRONMENT).await?;
    agent.send(status, None).await?;
    testbed.deliver(Undelayed).await?;
    testbed.change_environment();
    let one = begin(agent, Undelayed).await?;
    let two = begin(agent, Undelayed).await?;
    testbed.change_environment();
    agent.send(messages::stream(one, 0), UNSEEN_ATTEMPT).await?;
    agent.send(messages::complete(one), None).await?;
    testbed.change_environment();
    agent.send(messages::complete(two), None).await?;
    testbed.deliver(Undelayed).await?;
    let three = messages::complete(begin(agent, Undelayed).await?);
    testbed.change_environment();
    agent.send(three, UNSEEN_ATTEMPT).await?;
    testbed.deliver(Undelayed).await?;
    testbed.change_environment();
    agent.disconnect().await?;
    testbed.deliver(All).await
}

async fn send_command(agent: &Agent<'_>, text: &str, kind: &str) -> Result<()> {
    let (testbed, channel) = (agent.testbed, &agent.channel);
    let (trigger, kind) = (RandomIds.message(), Kind::new(kind, None));
    testbed.command(channel, trigger.as_str(), text, kind).await
}

/// A task is asked for, and the agent accepts it.
async fn begin(agent: &Agent<'_>, deliver: Deliver) -> Result<Run> {
    send_command(agent, RUN_TEXT, RUN).await?;
    agent.testbed.deliver(deliver).await?;
    let run = agent.offered()?;
    agent.send(Message::ack(run), None).await?;
    Ok(run)
}

async fn short_task(agent: &Agent<'_>) -> Result<Run> {
    let run = begin(agent, Undelayed).await?;
    for report in messages::reports(run, 3, 6) {
        agent.report(run, report).await?;
    }
    Ok(run)
}

pub(crate) async fn ordinary_task(testbed: &Testbed, prices: &Prices) -> Result<TaskRow> {
    let mut agent = agent(testbed, "ordinary").await?;
    agent.connect().await?;
    let status = messages::status(agent.id());
    agent.send(status, FIRST_MESSAGE).await?;
    testbed.deliver(All).await?;
    let (first, logged) = (testbed.log().len(), testbed.logged());
    let run = begin(&agent, Due).await?;
    let mut at = Instant::now();
    for report in messages::reports(run, STEPS, CHUNKS) {
        at += PACE;
        deliver_until(testbed, at).await?;
        agent.report(run, report).await?;
    }
    agent.send(messages::complete(run), None).await?;
    testbed.deliver(Due).await?;
    // What is left are timers, and the last refresh: the task is over, whenever they come.
    testbed.deliver(All).await?;
    let logged = testbed.logged() - logged;
    Ok(report::task(&testbed.log()[first..], logged, prices))
}

/// Waits until the agent's next message is due, while the queues go on.
async fn deliver_until(testbed: &Testbed, next: Instant) -> Result<()> {
    loop {
        testbed.deliver(Due).await?;
        let due = testbed.next_due(|_| true);
        let due = due.map_or(next, |after| Instant::now() + after);
        sleep_until(due.min(next)).await;
        if due >= next {
            return Ok(());
        }
    }
}
