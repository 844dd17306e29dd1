//! Who is told of a task's state, and when.

use std::{iter, time::Duration};

use bematic_protocol::time::Timestamp;
use tracing::info;

use super::{LONGEST_DELAY, Transitions};
use crate::{
    error::BematicError,
    ports::{DispatchMessage, Show},
    task::{SHOWN_WITHIN, Task, TaskState},
};

impl Transitions {
    /// Has the task shown, unless it is.
    ///
    /// # Errors
    /// The queue's.
    pub async fn show(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        if task.shown < task.version {
            self.ports
                .notifications
                .show(&Show::again(task, now))
                .await?;
        }
        Ok(())
    }

    /// Makes up for messages that were never sent: once the task should have been shown by now.
    /// What is not, or waits where it could be moved, is looked at anew later.
    ///
    /// # Errors
    /// The queues'.
    pub async fn tell_again(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        let untold = task.shown < task.version && task.updated_at + SHOWN_WITHIN <= now;
        if untold {
            info!(task = %task.id, "told again of a change that is not shown");
            self.show(task, now).await?;
            // Whoever is to be stopped was just told.
            if task.state.cancel_request().is_none() {
                self.wake(task, None, now).await?;
            }
        }
        if untold || task.reroute_at().is_some_and(|at| at <= now) {
            self.ports
                .tasks
                .look_again(task, task.look_again_at(now))
                .await?;
        }
        Ok(())
    }

    /// Tells whoever may have something to do now: a call to the dispatcher's queue, which has the
    /// task shown too where it is to look at once; else one to the notifier's unless a refresh is
    /// under way, and one more where the dispatcher is to look at the task itself.
    ///
    /// # Errors
    /// The queues'.
    pub(in crate::handlers) async fn tell(
        &self,
        task: &Task,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let show = Show::of(task);
        if is_drained(task) {
            return self.wake(task, Some(show), now).await;
        }
        if task.is_told_of(now) {
            return self.wake(task, None, now).await;
        }
        let shown = async { Ok(self.ports.notifications.show(&show).await?) };
        futures::try_join!(shown, self.wake(task, None, now))?;
        Ok(())
    }

    /// The same for many, with as few calls as there can be: ten are shown by one, and an agent's
    /// queue is looked at once. A drain that has each shown would be one call fewer here, and in the
    /// dispatcher one for each task, and a drain.
    ///
    /// # Errors
    /// The queues'.
    pub(in crate::handlers) async fn tell_all(
        &self,
        tasks: &[&Task],
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let shows: Vec<_> = tasks.iter().map(|task| Show::of(task)).collect();
        let mut messages = Vec::new();
        for message in tasks.iter().flat_map(|task| wake_up(task, None, now)) {
            // One drain of an agent is as good as many.
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        futures::try_join!(
            self.ports.notifications.show_all(&shows),
            self.ports.dispatch.send_all(&messages)
        )?;
        Ok(())
    }

    async fn wake(
        &self,
        task: &Task,
        show: Option<Show>,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let messages = wake_up(task, show, now);
        Ok(self.ports.dispatch.send_all(&messages).await?)
    }

    /// Has the dispatcher look again when the task's timer ends.
    ///
    /// # Errors
    /// The queue's.
    pub async fn wait_for_timer(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        match at_timer(task, now) {
            Some((message, delay)) => Ok(self.ports.dispatch.send(&message, delay).await?),
            None => Ok(()),
        }
    }
}

/// Whether the queue of the task's agent is to be looked at: the task waits, or has left a slot.
const fn is_drained(task: &Task) -> bool {
    matches!(task.state, TaskState::Pending { .. }) || task.state.is_terminal()
}

/// What the dispatcher is to be told of a task's state, and when. Only a drain at once has something
/// shown.
fn wake_up(task: &Task, show: Option<Show>, now: Timestamp) -> Vec<(DispatchMessage, Duration)> {
    let (task_id, agent_id) = (task.id, task.agent_id.clone());
    let at_once = |message| (message, Duration::ZERO);
    if is_drained(task) {
        let again = match &task.state {
            // The next in line may have the slot now, and the task is due again then.
            TaskState::Pending {
                not_before: Some(due),
                ..
            } if *due > now => {
                let drain = DispatchMessage::drain(agent_id.clone());
                Some((drain, due.since(now)))
            }
            _ => None,
        };
        let drain = at_once(DispatchMessage::Drain { agent_id, show });
        return iter::once(drain).chain(again).collect();
    }
    match &task.state {
        // The agent is yet to be told.
        state if state.cancel_request().is_some() => {
            vec![at_once(DispatchMessage::Task { task_id, agent_id })]
        }
        _ => at_timer(task, now).into_iter().collect(),
    }
}

/// A timer that takes longer than SQS can delay a message is left to the sweeper.
fn at_timer(task: &Task, now: Timestamp) -> Option<(DispatchMessage, Duration)> {
    let delay = task.timer?.since(now);
    let (task_id, agent_id) = (task.id, task.agent_id.clone());
    let message = match task.state {
        TaskState::Dispatched { cancel: None, .. } => {
            DispatchMessage::AckDeadline { task_id, agent_id }
        }
        _ => DispatchMessage::Task { task_id, agent_id },
    };
    (delay <= LONGEST_DELAY).then_some((message, delay))
}
