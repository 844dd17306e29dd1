//! The messages HEARTBEAT_PING, HEARTBEAT_PONG and AGENT_STATUS: the signs of life of agents, and
//! the tasks that they name.

use std::{collections::BTreeSet, time::Duration};

use bematic_protocol::{
    ids::{AgentId, TaskId},
    messages::{
        AgentStatus, Availability, CloudMessage, Heartbeat, HeartbeatReport, HeartbeatSignal,
    },
    time::Timestamp,
};
use tracing::{info, warn};

use super::{
    super::transitions::TransitionOutcome, Context, MessageRouter, SenderIdentity,
    task::cancel_message,
};
use crate::{
    agent::{Agent, should_record_heartbeat},
    error::{AuthError, BematicError, Result, TaskError},
    ports::HeartbeatContent,
    task::TaskEvent,
};

/// The number of tasks that an agent names and does not hold that are looked up: more than it can
/// have from before, and no more than one call.
const MAX_UNHELD_LOOKUPS: usize = 100;

/// The time for which tasks that an agent names are not looked up again: that of a heartbeat.
const MIN_LOOKUP_INTERVAL: Duration = Duration::from_secs(20);

/// The time for which a sign of life that was recorded here is not recorded again.
const MIN_RECORD_INTERVAL: Duration = Duration::from_secs(40);

impl MessageRouter {
    /// Handles HEARTBEAT_PING: answers, and makes at most one write a minute.
    pub(super) async fn handle_heartbeat_ping(
        &self,
        context: Context<'_>,
        ping: HeartbeatSignal,
    ) -> Result<Vec<CloudMessage>> {
        let server_time = Some(context.now);
        let mut answers = vec![CloudMessage::HeartbeatPong(Heartbeat { server_time })];
        if self.must_record_heartbeat(context) {
            answers.extend(self.record_sign_of_life(context, ping.tasks, None).await?);
        }
        Ok(answers)
    }

    /// Handles HEARTBEAT_PONG: one call, since it echoes a ping, of which there are few.
    pub(super) async fn handle_heartbeat_pong(
        &self,
        context: Context<'_>,
        report: HeartbeatReport,
    ) -> Result<Vec<CloudMessage>> {
        check_agent_id(context, &report.agent_id)?;
        let echoes = Some(report.server_time);
        self.record_sign_of_life(context, report.tasks, echoes)
            .await
    }

    /// Handles AGENT_STATUS: one call, and one that has the queue dispatched if the agent is
    /// online; one that looks up the tasks that it names, and more for each that it holds and does
    /// not name.
    pub(super) async fn handle_agent_status(
        &self,
        context: Context<'_>,
        status: &AgentStatus,
    ) -> Result<Vec<CloudMessage>> {
        check_agent_id(context, &status.agent_id)?;
        let Context {
            sender,
            sent_at,
            now,
            is_early,
            ..
        } = context;
        let (connection, spelling) = (&sender.connection, sender.spelling);
        let presence = &self.ports.presence;
        let reported = presence
            .record_status(status, connection, spelling, sent_at, now)
            .await?;
        let mut answers = Vec::new();
        if let Some(agent) = reported {
            let named = &status.active_tasks;
            self.shorten_missing_task_leases(&agent, named, context)
                .await?;
            let held: BTreeSet<_> = agent.held_tasks().collect();
            let (own, others): (Vec<_>, Vec<_>) = named.iter().partition(|it| held.contains(it));
            let others = others.into_iter().take(MAX_UNHELD_LOOKUPS);
            let named = own.into_iter().chain(others);
            answers = self
                .cancel_messages(&agent, named.copied().collect(), context)
                .await?;
        }
        // The first message of a connection has the queue dispatched anyway.
        let is_first = is_early && !sender.is_recorded;
        if status.status == Availability::Online && !is_first {
            self.ports.request_dispatch(&status.agent_id).await?;
        }
        Ok(answers)
    }

    /// Whether a heartbeat has to be recorded: one that may be the first message of its connection,
    /// and after that one a minute.
    fn must_record_heartbeat(&self, context: Context<'_>) -> bool {
        let Context { sender, now, .. } = context;
        match self.signs_of_life.get(&sender.connection) {
            Some(at) if now.since(at) < MIN_RECORD_INTERVAL => false,
            None if context.is_early => true,
            _ => should_record_heartbeat(&sender.agent_id, now),
        }
    }

    /// Records a heartbeat, with the tasks that it lists and the ping that it echoes. A connection
    /// that is no longer its agent's current one is closed: its agent opens another. Returns
    /// TASK_CANCEL for the tasks that the agent has to stop.
    async fn record_sign_of_life(
        &self,
        context: Context<'_>,
        tasks: Option<Vec<TaskId>>,
        echoes: Option<Timestamp>,
    ) -> Result<Vec<CloudMessage>> {
        let SenderIdentity {
            agent_id,
            connection,
            spelling,
            ..
        } = context.sender;
        let sign = HeartbeatContent {
            tasks,
            echoes,
            spelling: *spelling,
        };
        let presence = &self.ports.presence;
        let recorded = presence
            .record_heartbeat(agent_id, connection, &sign, context.now)
            .await?;
        let Some(agent) = recorded else {
            info!("message over a connection that is not the agent's current one: closed");
            self.ports.gateway.close(connection).await?;
            return Ok(Vec::new());
        };
        let was_in_doubt = agent
            .connection
            .as_ref()
            .is_some_and(|it| it.doubted_at.is_some());
        // The agent was sent no tasks until it has echoed a ping.
        if echoes.is_some() && was_in_doubt {
            self.ports.request_dispatch(agent_id).await?;
        }
        let mut stop = Vec::new();
        if let Some(named) = &sign.tasks {
            self.shorten_missing_task_leases(&agent, named, context)
                .await?;
            // The agent is sent TASK_CANCEL for tasks that it still holds when they are cancelled.
            let held: BTreeSet<_> = agent.held_tasks().collect();
            let others = named.iter().copied().filter(|task| !held.contains(task));
            let others = others.take(MAX_UNHELD_LOOKUPS).collect();
            stop = self.cancel_messages(&agent, others, context).await?;
        }
        self.signs_of_life.insert(connection.clone(), context.now);
        Ok(stop)
    }

    /// Returns TASK_CANCEL for those of the tasks that the agent has to stop: the first one may
    /// have been lost. A call for each 100 tasks, but none if tasks were looked up a short while
    /// ago.
    async fn cancel_messages(
        &self,
        agent: &Agent,
        tasks: BTreeSet<TaskId>,
        context: Context<'_>,
    ) -> Result<Vec<CloudMessage>> {
        let (connection, now) = (&context.sender.connection, context.now);
        let last = self.lookups.get(connection);
        if tasks.is_empty() || last.is_some_and(|at| now.since(at) < MIN_LOOKUP_INTERVAL) {
            return Ok(Vec::new());
        }
        let tasks = self.ports.tasks.find_all(&tasks).await?;
        self.lookups.insert(connection.clone(), now);
        let own = tasks.iter().filter(|task| task.is_known_to(&agent.id));
        Ok(own
            .filter_map(|task| cancel_message(task, &agent.id))
            .collect())
    }

    /// Shortens the leases of the tasks that the agent holds and does not name.
    async fn shorten_missing_task_leases(
        &self,
        agent: &Agent,
        named: &[TaskId],
        context: Context<'_>,
    ) -> Result<()> {
        let event = TaskEvent::Missing {
            said_at: context.sent_at,
        };
        for task in agent.held_tasks().filter(|task| !named.contains(task)) {
            match self
                .transitions
                .apply_for_agent(&agent.id, None, task, &event, None, context.now)
                .await
            {
                Ok(TransitionOutcome::Changed(_)) => {
                    info!(%task, "agent does not name a task that it holds");
                }
                Ok(TransitionOutcome::Unchanged(..)) => {}
                Err(BematicError::Task(error @ TaskError::UnknownTask(_))) => {
                    warn!(%task, %error, "a slot is occupied by an unknown task");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Checks that the agent in a payload is the one that the connection is bound to.
fn check_agent_id(context: Context<'_>, claimed: &AgentId) -> Result<()> {
    let bound = &context.sender.agent_id;
    if claimed == bound {
        return Ok(());
    }
    Err(AuthError::AgentMismatch(bound.clone()).into())
}
