//! Applying an event to a stored task: read, decide, write on condition, then tell.

use std::{sync::Arc, time::Duration};

use tracing::info;

use crate::{
    error::{BematicError, TaskError},
    ids::{AgentId, TaskId},
    ports::{DispatchMessage, DispatchQueue, Kept, Notifications, Tasks, Written},
    task::{
        Completion, LateReport, SHOWN_WITHIN, Task, TaskEvent, TaskPolicy, TaskState, Unchanged,
    },
    time::Timestamp,
};

/// Lost races in a row before giving up; the sender repeats.
const TRIES: u32 = 8;

/// What an event did to a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The task is now this.
    Changed(Task),
    /// The task is this and stays so.
    Unchanged(Task, Unchanged),
}

/// Applies events to stored tasks.
#[derive(Clone)]
pub struct Transitions {
    tasks: Arc<dyn Tasks>,
    dispatch: Arc<dyn DispatchQueue>,
    notifications: Arc<dyn Notifications>,
    policy: TaskPolicy,
}

impl Transitions {
    /// With what it reads, writes and tells.
    pub fn new(
        tasks: Arc<dyn Tasks>,
        dispatch: Arc<dyn DispatchQueue>,
        notifications: Arc<dyn Notifications>,
        policy: TaskPolicy,
    ) -> Self {
        Self {
            tasks,
            dispatch,
            notifications,
            policy,
        }
    }

    /// The task, if it is the agent's, or was before it was moved to another.
    ///
    /// # Errors
    /// [`TaskError::Unknown`] and [`TaskError::NotYours`].
    pub async fn task_of(&self, agent: &AgentId, id: TaskId) -> Result<Task, BematicError> {
        let task = self.find(id).await?;
        if task.is_known_to(agent) {
            Ok(task)
        } else {
            Err(TaskError::NotYours {
                task_id: id,
                agent_id: agent.clone(),
            }
            .into())
        }
    }

    async fn find(&self, id: TaskId) -> Result<Task, BematicError> {
        let task = self.tasks.find(id).await?;
        Ok(task.ok_or(TaskError::Unknown { task_id: id })?)
    }

    /// What applies to all tasks.
    pub const fn policy(&self) -> &TaskPolicy {
        &self.policy
    }

    /// Applies what the agent reports to its task: a read, a write, and a message to the notifier; where
    /// the agent has room again, or a timer has begun, one to the dispatcher. Repeated, it only
    /// sends again.
    ///
    /// # Errors
    /// As [`Self::task_of`], and [`TaskError::Contended`] after too many lost races.
    pub async fn apply(
        &self,
        agent: &AgentId,
        id: TaskId,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let task = self.task_of(agent, id).await?;
        self.apply_report(agent, task, event, completion, now).await
    }

    /// What the agent's report would do to a task that was just read, if that is nothing.
    pub(super) fn does_nothing(
        &self,
        agent: &AgentId,
        task: &Task,
        event: &TaskEvent,
        now: Timestamp,
    ) -> Option<Unchanged> {
        let next = task.after_report(agent, event.clone(), &self.policy, now);
        next.err()
    }

    /// The same as [`Self::apply`] to a task that was just read.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) async fn apply_report(
        &self,
        agent: &AgentId,
        task: Task,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let decide = |task: &Task| task.after_report(agent, event.clone(), &self.policy, now);
        let kept = completion.map(Kept::Completion);
        self.change(task, decide, kept, now).await
    }

    /// The same to a task that was just read, whoever has it, for what no agent says.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn apply_to(
        &self,
        task: Task,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let decide = |task: &Task| task.after(event.clone(), &self.policy, now);
        let kept = completion.map(Kept::Completion);
        self.change(task, decide, kept, now).await
    }

    /// Changes a task that was just read as `decide` says, which is asked anew after a lost race.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) async fn change(
        &self,
        mut task: Task,
        decide: impl Fn(&Task) -> Result<Task, Unchanged> + Send,
        kept: Option<Kept<'_>>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let id = task.id;
        for _ in 0..TRIES {
            let next = match decide(&task) {
                Ok(next) => next,
                Err(why) => return self.unchanged(task, why, now).await,
            };
            match self.tasks.transition(&task, &next, kept).await? {
                Written::Done => {
                    info!(task = %id, agent = %next.agent_id, from = task.state.name(), to = next.state.name(), "task changed");
                    self.tell(&next, now).await?;
                    return Ok(Outcome::Changed(next));
                }
                Written::Conflict => task = self.find(id).await?,
            }
        }
        Err(TaskError::Contended { task_id: id }.into())
    }

    /// Keeps what came too late: a transaction, and a message to the notifier. The first report of
    /// an attempt is kept; the task's state is what it was.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn keep_late(
        &self,
        mut task: Task,
        report: &LateReport,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let id = task.id;
        for _ in 0..TRIES {
            let next = task.with_late_report();
            let kept = Some(Kept::Late(report));
            match self.tasks.transition(&task, &next, kept).await? {
                Written::Done => {
                    info!(task = %id, attempt = %report.attempt, "late report kept");
                    return Ok(self.notifications.changed(&next).await?);
                }
                Written::Conflict => {
                    let known = self.tasks.late_reports(id).await?;
                    task = self.find(id).await?;
                    if known.iter().any(|late| late.attempt == report.attempt) {
                        return self.show(&task, now).await;
                    }
                }
            }
        }
        Err(TaskError::Contended { task_id: id }.into())
    }

    /// Has the task shown, unless it is.
    ///
    /// # Errors
    /// The queue's.
    pub async fn show(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        if task.shown < task.version {
            self.notifications.not_shown(task, now).await?;
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
                self.wake(task, now).await?;
            }
        }
        if untold || task.reroute_at().is_some_and(|at| at <= now) {
            self.tasks.look_again(task, task.look_again_at(now)).await?;
        }
        Ok(())
    }

    /// A repeated event may come of a failure between the write and the send.
    async fn unchanged(
        &self,
        task: Task,
        why: Unchanged,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        info!(task = %task.id, state = task.state.name(), why = <&str>::from(why), "task unchanged");
        if why == Unchanged::Duplicate {
            self.tell(&task, now).await?;
        }
        Ok(Outcome::Unchanged(task, why))
    }

    /// Tells whoever may have something to do now.
    pub(super) async fn tell(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        let shown = async { Ok(self.notifications.changed(task).await?) };
        futures::try_join!(shown, self.wake(task, now))?;
        Ok(())
    }

    /// The same for many, with as few calls as there can be.
    ///
    /// # Errors
    /// The queues'.
    pub(super) async fn tell_all(
        &self,
        tasks: &[&Task],
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let mut messages = Vec::new();
        for message in tasks.iter().flat_map(|task| wake_up(task, now)) {
            // One drain of an agent is as good as many.
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        futures::try_join!(
            self.notifications.all_changed(tasks),
            self.dispatch.send_all(&messages)
        )?;
        Ok(())
    }

    async fn wake(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        for (message, delay) in wake_up(task, now) {
            self.dispatch.send(&message, delay).await?;
        }
        Ok(())
    }

    /// Has the dispatcher look again when the task's timer ends.
    ///
    /// # Errors
    /// The queue's.
    pub async fn wait_for_timer(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        match at_timer(task, now) {
            Some((message, delay)) => Ok(self.dispatch.send(&message, delay).await?),
            None => Ok(()),
        }
    }
}

/// What the dispatcher is to be told of a task's state, and when.
fn wake_up(task: &Task, now: Timestamp) -> Vec<(DispatchMessage, Duration)> {
    let (task_id, agent_id) = (task.id, task.agent_id.clone());
    let at_once = |message| (message, Duration::ZERO);
    let drain = DispatchMessage::Drain {
        agent_id: agent_id.clone(),
    };
    match &task.state {
        // The next in line may have the slot now, and the task is due again then.
        TaskState::Pending {
            not_before: Some(due),
            ..
        } if *due > now => vec![at_once(drain.clone()), (drain, due.since(now))],
        TaskState::Pending { .. } => vec![at_once(drain)],
        // A slot is free.
        state if state.is_terminal() => vec![at_once(drain)],
        // The agent is yet to be told.
        state if state.cancel_request().is_some() => {
            vec![at_once(DispatchMessage::Task { task_id, agent_id })]
        }
        _ => at_timer(task, now).into_iter().collect(),
    }
}

/// A timer that takes longer than SQS can delay a message is left to the sweeper.
fn at_timer(task: &Task, now: Timestamp) -> Option<(DispatchMessage, Duration)> {
    const LONGEST: Duration = Duration::from_mins(15);
    let delay = task.timer?.since(now);
    let message = DispatchMessage::Task {
        task_id: task.id,
        agent_id: task.agent_id.clone(),
    };
    (delay <= LONGEST).then_some((message, delay))
}
