//! The messages that a task's state calls for, and when they are due.

use std::time::Duration;

use bematic_protocol::{ids::TaskId, time::Timestamp};
use tracing::info;

use super::{MAX_SQS_DELAY, Transitions};
use crate::{
    error::Result,
    ports::DispatchMessage,
    task::{FlushInterval, SHOWN_WITHIN, Task, TaskState},
};

impl Transitions {
    /// Enqueues a refresh of the task's card, unless one that was enqueued here in the same flush
    /// interval is under way. `now` is after the change to be shown was written.
    pub(crate) async fn enqueue_refresh(&self, task: TaskId, now: Timestamp) -> Result<()> {
        let interval = FlushInterval::of(now);
        if self.refreshed.get(&task) != Some(interval) {
            self.ports
                .notifications
                .enqueue_refreshes(&[task], now)
                .await?;
            self.refreshed.insert(task, interval);
        }
        Ok(())
    }

    /// Makes up for messages that were never sent, once the task should have been shown by now. If
    /// Slack does not show the task, or it waits where it could be moved, its next check is
    /// postponed.
    pub(crate) async fn resend_lost_messages(&self, task: &Task, now: Timestamp) -> Result<()> {
        let unshown = task.shown < task.version && task.updated_at + SHOWN_WITHIN <= now;
        if unshown {
            info!(task = %task.id, "change not shown: its messages are sent again");
            self.enqueue_refresh(task.id, now).await?;
            // If cancellation was requested, the agent was just sent TASK_CANCEL.
            if task.state.cancel_request().is_none() {
                self.enqueue_dispatcher_messages(task, None, now).await?;
            }
        }
        if unshown || task.first_move_check_at().is_some_and(|at| at <= now) {
            let at = task.postponed_check_at(now);
            self.ports.deadlines.postpone(task, at).await?;
        }
        Ok(())
    }

    /// Sends the messages that a change of a task calls for: one to the dispatcher's queue, which
    /// has the card refreshed too where the agent's queue is to be dispatched at once; otherwise
    /// one to the notifier's unless a refresh is under way, and one more where the dispatcher is to
    /// look at the task itself. `now` is after the change was written.
    pub(crate) async fn enqueue_follow_ups(&self, task: &Task, now: Timestamp) -> Result<()> {
        if needs_queue_dispatch(task) {
            return self
                .enqueue_dispatcher_messages(task, Some(task.id), now)
                .await;
        }
        if task.refresh_is_under_way(now) {
            self.refreshed.insert(task.id, FlushInterval::of(now));
        }
        futures::try_join!(
            self.enqueue_refresh(task.id, now),
            self.enqueue_dispatcher_messages(task, None, now)
        )?;
        Ok(())
    }

    /// Does the same as [`Self::enqueue_follow_ups`] for many tasks, with as few calls as possible:
    /// ten cards are refreshed by one call, and an agent's queue is dispatched once.
    pub(crate) async fn enqueue_bulk_follow_ups(
        &self,
        tasks: &[&Task],
        now: Timestamp,
    ) -> Result<()> {
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        let mut messages = Vec::new();
        for message in tasks
            .iter()
            .flat_map(|task| dispatcher_messages(task, None, now))
        {
            // An agent's queue that is dispatched once is as good as dispatched twice.
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        futures::try_join!(
            self.ports.notifications.enqueue_refreshes(&ids, now),
            self.ports.dispatch.send(&messages)
        )?;
        Ok(())
    }

    /// Enqueues the dispatcher's messages for the task's state.
    async fn enqueue_dispatcher_messages(
        &self,
        task: &Task,
        refresh: Option<TaskId>,
        now: Timestamp,
    ) -> Result<()> {
        let messages = dispatcher_messages(task, refresh, now);
        Ok(self.ports.dispatch.send(&messages).await?)
    }

    /// Enqueues a check of the task for when its timer ends.
    pub(crate) async fn enqueue_timer(&self, task: &Task, now: Timestamp) -> Result<()> {
        let message = timer_message(task, 0, now);
        Ok(self.ports.dispatch.send(message.as_slice()).await?)
    }

    /// Enqueues a check of a task whose lease was renewed at the end of a timer, which had `renewals`
    /// before it. A lease that is renewed more often is left to the sweeper: its timers would repeat
    /// for the life of the task, and Lambda may stop such a chain of invocations after sixteen
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>).
    pub(crate) async fn enqueue_renewed_timer(
        &self,
        task: &Task,
        renewals: u8,
        now: Timestamp,
    ) -> Result<()> {
        const MAX_RENEWALS: u8 = 8;
        if renewals >= MAX_RENEWALS {
            return Ok(());
        }
        let message = timer_message(task, renewals + 1, now);
        Ok(self.ports.dispatch.send(message.as_slice()).await?)
    }
}

/// Whether the queue of the task's agent is to be dispatched: the task waits, or has left a slot.
const fn needs_queue_dispatch(task: &Task) -> bool {
    matches!(task.state, TaskState::Pending { .. }) || task.state.is_terminal()
}

/// The dispatcher's messages for a task's state, and when each is due. Only one that is due at once
/// has a card refreshed.
fn dispatcher_messages(
    task: &Task,
    refresh: Option<TaskId>,
    now: Timestamp,
) -> Vec<(DispatchMessage, Duration)> {
    let (task_id, agent_id) = (task.id, task.agent_id.clone());
    let message = match &task.state {
        _ if needs_queue_dispatch(task) => DispatchMessage::AgentQueue { agent_id, refresh },
        // The agent has yet to be sent TASK_CANCEL.
        state if state.cancel_request().is_some() => DispatchMessage::task(task_id, agent_id),
        // The message for the acknowledgement's deadline is under way, and handles the first lease too.
        // The timer of a renewed lease is sent by the one before, as long as it is. A lease that was cut
        // short, since the agent did not name the task, has one of its own.
        TaskState::Processing { lease, .. } if lease.ends_early_at.is_none() => return vec![],
        _ => return timer_message(task, 0, now).into_iter().collect(),
    };
    let mut messages = vec![(message, Duration::ZERO)];
    // The next task in the queue may take the slot now; this one is due again after its wait.
    if let TaskState::Pending {
        not_before: Some(due),
        ..
    } = task.state
        && due > now
    {
        messages.push((
            DispatchMessage::agent_queue(task.agent_id.clone()),
            due.since(now),
        ));
    }
    messages
}

/// The message that is due when the task's timer ends. A timer that takes longer than SQS can delay
/// a message is left to the sweeper.
fn timer_message(task: &Task, renewals: u8, now: Timestamp) -> Option<(DispatchMessage, Duration)> {
    let delay = task.timer?.since(now);
    let (task_id, agent_id) = (task.id, task.agent_id.clone());
    let message = match task.state {
        TaskState::Dispatched { cancel: None, .. } => {
            DispatchMessage::AckDeadline { task_id, agent_id }
        }
        _ => DispatchMessage::Task {
            task_id,
            agent_id,
            renewals,
        },
    };
    (delay <= MAX_SQS_DELAY).then_some((message, delay))
}
