//! The scenario: connections, heartbeats, tasks of every outcome, and the ordinary task.

use anyhow::Result;
use aws_config::SdkConfig;
use bematic::agent::Route;
use bematic::audit::AuditRetention;
use bematic_admin::{Admin, Deployment, NewProject, Tables};
use bematic_protocol::ids::{AgentId, IdGenerator as _, RandomIds};
use bematic_protocol::messages::Fault;
use bematic_protocol::time::{Clock as _, SystemClock};
use bematic_test_agent::{AgentMessage, RunKey};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::agent::Agent;
use crate::agent_messages::{
    self as messages, OUTPUT_CHUNKS_PER_TASK, REPORT_INTERVAL, STEPS_PER_TASK,
};
use crate::aws::{AGENTS_TABLE, add_slack_channel};
use crate::common::FLOOR_FUNCTION;
use crate::driver::FunctionInvoker as _;
use crate::invocation::{InvocationKind, SpecialCase};
use crate::prices::Prices;
use crate::report::{self, TaskRow};
use crate::testbed::DeliveryScope::{self, All, Due, Undelayed};
use crate::testbed::Testbed;

/// A heartbeat that is stored, and one that is not.
pub(crate) const STORED_HEARTBEAT_CASE: SpecialCase = Some("the first in a while");
pub(crate) const UNSTORED_HEARTBEAT_CASE: SpecialCase = Some("within a minute");
pub(crate) const FIRST_MESSAGE_CASE: SpecialCase = Some("first of a connection");
/// The first message of a connection in another environment than the one before.
pub(crate) const OTHER_ENVIRONMENT_CASE: SpecialCase = Some("first in another environment");
/// A message about an attempt, or a request to cancel it, that its environment has not seen.
pub(crate) const UNSEEN_ATTEMPT_CASE: SpecialCase = Some("not seen in this environment");
const TASK_FAULT_CASE: SpecialCase = Some("the task's own");

/// The floor keeping a processor busy [`SPINS_PER_INVOCATION`] times, and the same with bytes
/// exchanged each time.
pub(crate) const BUSY_LOOP_FLOOR_CASE: SpecialCase = Some("busy");
pub(crate) const EXCHANGING_FLOOR_CASE: SpecialCase = Some("exchanging");
pub(crate) const SPINS_PER_INVOCATION: u32 = 8;

/// The command that creates a task, as it is reported.
pub(crate) const RUN_COMMAND_NAME: &str = "/bm run";
pub(crate) const RUN_TEXT: &str = "run fix the login bug: sessions end after an hour";

/// Creates an agent with a channel. Each round has its own, so that none finds a long history.
async fn create_agent_with_channel<'a>(testbed: &'a Testbed, name: &str) -> Result<Agent<'a>> {
    let admin = admin_client(testbed.cloud.aws.unobserved().sdk_config());
    let box_name = format!("box-{name}").parse()?;
    let created = admin.create_agent(box_name, false).await?;
    let channel = format!("C0BENCH{name}").to_uppercase();
    add_slack_channel(&testbed.server.slack, &channel);
    create_channel_project(&admin, &channel, &created.agent_id).await?;
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
        agents: AGENTS_TABLE.into(),
        keys: "KeysTable".into(),
    };
    Admin::new(Deployment {
        config,
        tables,
        queues: [].into(),
        management_url: None,
        audit_retention: AuditRetention::default(),
    })
}

/// Creates a project that gives the channel's tasks to the agent.
pub(crate) async fn create_channel_project(
    admin: &Admin,
    channel: &str,
    agent: &AgentId,
) -> Result<()> {
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
        external_users: false,
    };
    admin.create_project(project, false).await?;
    Ok(())
}

/// Everything but the ordinary task, once.
pub(crate) async fn run_every_message_case(testbed: &Testbed, round: u16) -> Result<()> {
    let mut agent = create_agent_with_channel(testbed, &format!("r{round}")).await?;
    run_in_band_scenario(testbed, &mut agent).await?;
    agent.connect().await?;
    let status = messages::status_message(agent.id());
    agent.send(status, FIRST_MESSAGE_CASE).await?;
    deliver_undelayed(testbed).await?;
    agent
        .send(messages::status_message(agent.id()), None)
        .await?;
    agent
        .send(messages::ping_message(), STORED_HEARTBEAT_CASE)
        .await?;
    for _ in 0..3 {
        agent
            .send(messages::ping_message(), UNSTORED_HEARTBEAT_CASE)
            .await?;
    }
    let pong = AgentMessage::pong(agent.id(), SystemClock.now(), &[""; 0]);
    agent.send(pong, None).await?;
    deliver_undelayed(testbed).await?;
    let run = begin_and_report_task(&agent).await?;
    agent.send(messages::complete_message(run), None).await?;
    deliver_undelayed(testbed).await?;
    for (fault, case) in [(Fault::Agent, None), (Fault::Task, TASK_FAULT_CASE)] {
        let run = begin_and_report_task(&agent).await?;
        agent
            .send(messages::error_message(run, fault), case)
            .await?;
        deliver_undelayed(testbed).await?;
    }
    let run = begin_and_report_task(&agent).await?;
    let cancel = format!("cancel {}", run.task_id);
    send_command(&agent, &cancel, "/bm cancel").await?;
    deliver_undelayed(testbed).await?;
    // The environment has not seen the request to cancel, which the webhook has stored.
    let cancelled = AgentMessage::cancelled(run, "stopped on the machine");
    agent.send(cancelled, UNSEEN_ATTEMPT_CASE).await?;
    testbed.deliver_until_idle(All).await?;
    agent.disconnect().await?;
    testbed.sweep(InvocationKind::new("sweep", None)).await?;
    send_command(&agent, "archive", "/bm archive").await?;
    testbed.deliver_until_idle(All).await
}

/// Invokes the floor a few times, keeping a processor busy, and as often exchanging bytes besides.
pub(crate) async fn calibrate_exchange(testbed: &Testbed) -> Result<()> {
    for _ in 0..5 {
        invoke_floor(testbed, BUSY_LOOP_FLOOR_CASE, SPINS_PER_INVOCATION).await?;
        invoke_floor(testbed, EXCHANGING_FLOOR_CASE, SPINS_PER_INVOCATION).await?;
    }
    Ok(())
}

async fn invoke_floor(testbed: &Testbed, case: SpecialCase, times: u32) -> Result<()> {
    let event = json!({ "times": times, "exchange": case == EXCHANGING_FLOOR_CASE });
    let kinds = [InvocationKind::new(FLOOR_FUNCTION, case)];
    testbed.invoke(FLOOR_FUNCTION, event, &kinds).await?;
    Ok(())
}

/// Delivers what is not delayed. Then the floor, if it is measured, is invoked to do nothing: it
/// finds in the processor's caches what a message finds there, which is other functions' code.
async fn deliver_undelayed(testbed: &Testbed) -> Result<()> {
    testbed.deliver_until_idle(Undelayed).await?;
    if testbed.has_binary(FLOOR_FUNCTION) {
        invoke_floor(testbed, None, 0).await?;
    }
    Ok(())
}

/// A connection that authenticates in band, and what two environments receive in turn of it, of an
/// attempt whose begin the other has seen, and of one after the other has changed the agent's
/// breaker.
async fn run_in_band_scenario(testbed: &Testbed, agent: &mut Agent<'_>) -> Result<()> {
    agent.connect_in_band().await?;
    agent
        .send(messages::status_message(agent.id()), None)
        .await?;
    deliver_undelayed(testbed).await?;
    testbed.swap_message_environment();
    let status = messages::status_message(agent.id());
    agent.send(status.clone(), OTHER_ENVIRONMENT_CASE).await?;
    agent.send(status, None).await?;
    deliver_undelayed(testbed).await?;
    testbed.swap_message_environment();
    let one = begin_task(agent, Undelayed).await?;
    let two = begin_task(agent, Undelayed).await?;
    testbed.swap_message_environment();
    agent
        .send(messages::stream_message(one, 0), UNSEEN_ATTEMPT_CASE)
        .await?;
    agent.send(messages::complete_message(one), None).await?;
    testbed.swap_message_environment();
    agent.send(messages::complete_message(two), None).await?;
    deliver_undelayed(testbed).await?;
    let three = messages::complete_message(begin_task(agent, Undelayed).await?);
    testbed.swap_message_environment();
    agent.send(three, UNSEEN_ATTEMPT_CASE).await?;
    deliver_undelayed(testbed).await?;
    testbed.swap_message_environment();
    agent.disconnect().await?;
    testbed.deliver_until_idle(All).await
}

async fn send_command(agent: &Agent<'_>, text: &str, kind: &str) -> Result<()> {
    let (testbed, channel) = (agent.testbed, &agent.channel);
    let (trigger, kind) = (RandomIds.message(), InvocationKind::new(kind, None));
    testbed
        .send_slash_command(channel, trigger.as_str(), text, kind)
        .await
}

/// A task is asked for, and the agent accepts it.
async fn begin_task(agent: &Agent<'_>, deliver: DeliveryScope) -> Result<RunKey> {
    send_command(agent, RUN_TEXT, RUN_COMMAND_NAME).await?;
    match deliver {
        Undelayed => deliver_undelayed(agent.testbed).await?,
        deliver => agent.testbed.deliver_until_idle(deliver).await?,
    }
    let run = agent.take_offered_run()?;
    agent.send(AgentMessage::ack(run), None).await?;
    Ok(run)
}

/// Runs a short task up to its terminal message, which the caller sends.
async fn begin_and_report_task(agent: &Agent<'_>) -> Result<RunKey> {
    let run = begin_task(agent, Undelayed).await?;
    for report in messages::report_messages(run, 3, 6) {
        agent.send_report(run, report).await?;
    }
    Ok(run)
}

pub(crate) async fn run_ordinary_task(testbed: &Testbed, prices: &Prices) -> Result<TaskRow> {
    let mut agent = create_agent_with_channel(testbed, "ordinary").await?;
    agent.connect().await?;
    let status = messages::status_message(agent.id());
    agent.send(status, FIRST_MESSAGE_CASE).await?;
    testbed.deliver_until_idle(All).await?;
    let (first, logged) = (testbed.invocation_log().len(), testbed.log_bytes());
    let run = begin_task(&agent, Due).await?;
    let mut at = Instant::now();
    for report in messages::report_messages(run, STEPS_PER_TASK, OUTPUT_CHUNKS_PER_TASK) {
        at += REPORT_INTERVAL;
        deliver_until(testbed, at).await?;
        agent.send_report(run, report).await?;
    }
    agent.send(messages::complete_message(run), None).await?;
    testbed.deliver_until_idle(Due).await?;
    // What is left are timers, and the last refresh: the task is over, whenever they come.
    testbed.deliver_until_idle(All).await?;
    let logged = testbed.log_bytes() - logged;
    Ok(report::task_row(
        &testbed.invocation_log()[first..],
        logged,
        prices,
    ))
}

/// Waits until the agent's next message is due, while the queues go on.
async fn deliver_until(testbed: &Testbed, next: Instant) -> Result<()> {
    loop {
        testbed.deliver_until_idle(Due).await?;
        let due = testbed.time_until_next_message(|_| true);
        let due = due.map_or(next, |after| Instant::now() + after);
        sleep_until(due.min(next)).await;
        if due >= next {
            return Ok(());
        }
    }
}
