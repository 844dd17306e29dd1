//! Applying an event to a stored task: read, decide, write on condition, then enqueue messages.

mod cache;
mod messages;

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    time::Timestamp,
};
use tracing::info;

use self::cache::LocalCache;
use crate::{
    breaker::{self, Breaker, BreakerConfig, BreakerEvent, Transition, Verdict},
    error::{BematicError, QueueError, StoreError, TaskError},
    ports::{AttachedRecord, BreakerChange, Ports, Written},
    task::{Completion, LateReport, Task, TaskEvent, TaskPolicy, Unchanged},
};

/// The number of version conflicts in a row after which a late report is given up; the sender repeats
/// it.
const TRIES: u32 = 8;
/// The longest delay of a message in SQS.
const LONGEST_DELAY: Duration = Duration::from_mins(15);

/// The outcome of applying an event to a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The task was changed to this.
    Changed(Task),
    /// The task remains as it is, for this reason.
    Unchanged(Task, Unchanged),
}

/// Applies events to stored tasks.
#[derive(Clone)]
pub struct Transitions {
    ports: Arc<Ports>,
    cache: Arc<LocalCache>,
}

impl Transitions {
    /// Creates transitions of the tasks and breakers of these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            ports,
            cache: Arc::default(),
        }
    }

    /// Returns the task as it is now, if it belongs to the agent, or did before it was moved to
    /// another: one call, which reads the agent's breaker too.
    ///
    /// # Errors
    /// [`TaskError::Unknown`] and [`TaskError::NotYours`].
    pub async fn task_of(&self, agent: &AgentId, id: TaskId) -> Result<Task, BematicError> {
        let task = self.read(agent, id).await?;
        if task.is_known_to(agent) {
            return Ok(task);
        }
        let agent_id = agent.clone();
        Err(TaskError::NotYours {
            task_id: id,
            agent_id,
        }
        .into())
    }

    async fn read(&self, agent: &AgentId, id: TaskId) -> Result<Task, BematicError> {
        let (task, breaker) = self.ports.tasks.find_with_breaker(id, agent).await?;
        let task = task.ok_or(TaskError::Unknown { task_id: id })?;
        self.cache.tasks.insert(id, task.clone());
        self.cache.breakers.insert(agent.clone(), breaker);
        Ok(task)
    }

    /// Whether the agent runs the attempt, as far as this environment has cached.
    pub(super) fn runs(&self, task: TaskId, attempt: Attempt, agent: &AgentId) -> bool {
        let cached = self.cache.tasks.get(&task);
        cached.is_some_and(|task| task.runs(attempt, agent))
    }

    /// Returns the settings that apply to all tasks.
    pub fn policy(&self) -> &TaskPolicy {
        &self.ports.settings.policy
    }

    /// Returns the settings that apply to breakers without settings of their own.
    pub fn breaker(&self) -> &BreakerConfig {
        &self.ports.settings.breaker
    }

    /// Applies an agent's report to its task: a read unless this environment has cached the task
    /// (with the request to cancel it, if the agent reports that it was cancelled), a write, and the
    /// messages of [`Self::announce`]. The outcome of an attempt is written to the agent's breaker in
    /// the same transaction. A repeated report only sends the messages again.
    ///
    /// # Errors
    /// The errors of [`Self::task_of`], and [`TaskError::Contended`] after too many version
    /// conflicts.
    pub async fn apply(
        &self,
        agent: &AgentId,
        id: TaskId,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        // The webhook's environment writes the request to cancel: a cached task without one is out of
        // date, unless the agent stops of its own accord. A read costs less than a version conflict.
        let is_current = |task: &Task| {
            !matches!(event, TaskEvent::Cancelled(..)) || task.state.cancel_request().is_some()
        };
        let has_effect = |task: &Task| {
            is_current(task)
                && task.is_known_to(agent)
                && self.why_unchanged(agent, task, event, now).is_none()
        };
        let task = match self.cache.tasks.get(&id).filter(has_effect) {
            Some(task) => task,
            None => self.task_of(agent, id).await?,
        };
        self.apply_report(agent, task, event, completion, now).await
    }

    /// Returns the reason why the agent's report would change nothing, if it would not.
    pub(super) fn why_unchanged(
        &self,
        agent: &AgentId,
        task: &Task,
        event: &TaskEvent,
        now: Timestamp,
    ) -> Option<Unchanged> {
        let next = task.after_report(agent, event.clone(), &self.ports.settings.policy, now);
        next.err()
    }

    /// Does the same as [`Self::apply`] to a task that was read already.
    ///
    /// # Errors
    /// The errors of [`Self::apply`].
    pub(super) async fn apply_report(
        &self,
        agent: &AgentId,
        task: Task,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let decide = |task: &Task| {
            let next = task.after_report(agent, event.clone(), &self.ports.settings.policy, now)?;
            let report = breaker::report(event, task, &next);
            Ok((next, report))
        };
        let record = completion.map(AttachedRecord::Completion);
        self.change(task, decide, record, now).await
    }

    /// Applies an event that is not an agent's report to a task that was just read.
    ///
    /// # Errors
    /// The errors of [`Self::apply`].
    pub async fn apply_to(
        &self,
        task: Task,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let decide = |task: &Task| {
            let next = task.after(event.clone(), &self.ports.settings.policy, now)?;
            let report = breaker::report(event, task, &next);
            Ok((next, report))
        };
        let record = completion.map(AttachedRecord::Completion);
        self.change(task, decide, record, now).await
    }

    /// Changes a task by `decide`, which is called again after a version conflict, and its agent's
    /// breaker by the report that `decide` returns, in the same transaction.
    ///
    /// # Errors
    /// The errors of [`Self::apply`].
    pub(super) async fn change(
        &self,
        mut task: Task,
        decide: impl Fn(&Task) -> Result<(Task, Option<BreakerEvent>), Unchanged> + Send,
        record: Option<AttachedRecord<'_>>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let id = task.id;
        let mut pauses = pauses();
        loop {
            let (next, report) = match decide(&task) {
                Ok(decided) => decided,
                Err(why) => return self.unchanged(task, why, now).await,
            };
            let breaker_change = match report {
                Some(report) => {
                    self.decide_breaker_change(&task.agent_id, report, now)
                        .await?
                }
                None => None,
            };
            let change = breaker_change
                .as_ref()
                .map(|(before, after)| BreakerChange { before, after });
            match self
                .ports
                .tasks
                .transition(&task, &next, record, change)
                .await?
            {
                Written::Done => {
                    info!(task = %id, agent = %next.agent_id, from = task.state.name(), to = next.state.name(), "task changed");
                    self.cache.tasks.insert(id, next.clone());
                    if let Some(change) = change {
                        let (agent, after) = (task.agent_id.clone(), change.after.clone());
                        self.cache.breakers.insert(agent, after);
                    }
                    let gate = async {
                        if let Some(change) = change {
                            self.announce_gate_change(&next.agent_id, change, now)
                                .await?;
                        }
                        Ok(())
                    };
                    let written = self.ports.clock.now();
                    futures::try_join!(self.announce(&next, written), gate)?;
                    return Ok(Outcome::Changed(next));
                }
                Written::Conflict => {
                    let Some(pause) = pauses.next() else {
                        return Err(TaskError::Contended { task_id: id }.into());
                    };
                    tokio::time::sleep(pause).await;
                    task = self.read(&task.agent_id, id).await?;
                }
            }
        }
    }

    /// Returns the agent's breaker before and after the report, if the report changes it: a call
    /// unless this environment has cached the breaker.
    async fn decide_breaker_change(
        &self,
        agent: &AgentId,
        report: BreakerEvent,
        now: Timestamp,
    ) -> Result<Option<(Breaker, Breaker)>, StoreError> {
        let config = &self.ports.settings.breaker;
        if let Some(cached) = self.cache.breakers.get(agent) {
            let next = cached.after(report.clone(), config, now).next;
            if next != cached {
                return Ok(Some((cached, next)));
            }
        }
        let before = self.ports.breakers.breaker(agent).await?;
        let Transition { next, verdict } = before.after(report, config, now);
        if let Verdict::Ignored(why) = verdict {
            info!(%agent, why = <&str>::from(why), "report ignored by the breaker");
        }
        Ok((next != before).then_some((before, next)))
    }

    /// Logs a change of the breaker's gate. If the gate is shut, enqueues a dispatch of the agent's queue
    /// for the time at which the breaker permits a probe; the sweeper enqueues it where SQS cannot delay
    /// a message as long.
    ///
    /// # Errors
    /// The queue's.
    pub(super) async fn announce_gate_change(
        &self,
        agent: &AgentId,
        change: BreakerChange<'_>,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        if !change.changes_gate() {
            return Ok(());
        }
        let (before, after) = (change.before.state.name(), change.after.state.name());
        info!(%agent, before, after, "breaker gate changed");
        let Some(until) = change.after.gate().shut_until(now) else {
            return Ok(());
        };
        let delay = until.since(now);
        if delay > LONGEST_DELAY {
            return Ok(());
        }
        self.ports.request_dispatch(agent, delay).await
    }

    /// Stores a late report: a transaction, and a message to the notifier. Only the first report of
    /// an attempt is stored; the task's state is unchanged.
    ///
    /// # Errors
    /// The errors of [`Self::apply`].
    pub async fn store_late_report(
        &self,
        mut task: Task,
        report: &LateReport,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let id = task.id;
        for _ in 0..TRIES {
            let next = task.with_late_report();
            let record = Some(AttachedRecord::Late(report));
            match self
                .ports
                .tasks
                .transition(&task, &next, record, None)
                .await?
            {
                Written::Done => {
                    info!(task = %id, attempt = %report.attempt, "late report stored");
                    self.cache.tasks.insert(id, next.clone());
                    return self.refresh(id, now).await;
                }
                Written::Conflict => {
                    let known = self.ports.tasks.late_reports(id).await?;
                    task = self.read(&task.agent_id, id).await?;
                    if known.iter().any(|late| late.attempt == report.attempt) {
                        return self.refresh_unless_shown(&task, now).await;
                    }
                }
            }
        }
        Err(TaskError::Contended { task_id: id }.into())
    }

    /// Handles an event that changes nothing. A repeated event may follow a failure between the
    /// write and the sending of messages, so the messages are sent again.
    async fn unchanged(
        &self,
        task: Task,
        why: Unchanged,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        info!(task = %task.id, state = task.state.name(), why = <&str>::from(why), "task unchanged");
        if why == Unchanged::Duplicate {
            self.announce(&task, now).await?;
        }
        Ok(Outcome::Unchanged(task, why))
    }
}

/// Returns the waits after version conflicts: many tasks of one agent may end at once, and all of
/// them write its breaker. Up to 200 ms each, some 7 s in all, at random so that the writers do not
/// collide again.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(2))
        .with_max_delay(Duration::from_millis(100))
        .with_max_times(50)
        .with_jitter()
        .build()
}
