//! Applying an event to a stored task: read, decide, write on condition, then enqueue messages.

mod messages;

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    time::Timestamp,
};
use quick_cache::sync::Cache;
use tracing::info;

use crate::{
    agent::KeyId,
    breaker::{self, Breaker, BreakerEvent, Transition, Verdict},
    error::{AuthError, Result, TaskError},
    ports::{AttachedRecord, BreakerChange, Ports, TransitionWritten, Written},
    task::{
        Completion, FlushInterval, LateReport, REPORTS_TAKEN_AFTER_END, Task, TaskEvent, Unchanged,
    },
};

/// The number of tries of an optimistic write, after which a late report or a change of a breaker
/// alone is given up.
const MAX_WRITE_TRIES: usize = 10;
/// The longest delay of a message in SQS.
const MAX_SQS_DELAY: Duration = Duration::from_mins(15);
/// The number of tasks and agents that are cached.
const CACHE_CAPACITY: usize = 4096;

/// The outcome of applying an event to a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TransitionOutcome {
    /// The task was changed to this.
    Changed(Task),
    /// The task remains as it is, for this reason.
    Unchanged(Task, Unchanged),
}

/// The next state of a task and the event for its agent's breaker, or why nothing changes.
pub(super) type Decision = Result<(Task, Option<BreakerEvent>), Unchanged>;

/// Applies events to stored tasks.
///
/// Tasks and breakers are cached as this environment read or wrote them last, to save reads. Other
/// environments may have written them since: a change that is decided on them is written on
/// condition of their version, and that an event changes nothing is only believed of a record that
/// was just read.
pub(super) struct Transitions {
    ports: Arc<Ports>,
    /// The tasks, and the time at which each was read or written.
    tasks: Cache<TaskId, (Task, Timestamp)>,
    breakers: Cache<AgentId, Breaker>,
    /// The flush interval in which a refresh of a task's card was last enqueued.
    refreshed: Cache<TaskId, FlushInterval>,
}

impl Transitions {
    pub(super) fn new(ports: Arc<Ports>) -> Self {
        Self {
            ports,
            tasks: Cache::new(CACHE_CAPACITY),
            breakers: Cache::new(CACHE_CAPACITY),
            refreshed: Cache::new(CACHE_CAPACITY),
        }
    }

    /// Returns the task as it is now, if it belongs to the agent, or did before it was moved to
    /// another: one call, which reads the agent's breaker too. `key` is that of the connection over
    /// which the agent reports.
    ///
    /// # Errors
    /// [`AuthError::BadApiKey`] if the key is revoked; [`TaskError::UnknownTask`] and
    /// [`TaskError::NotYourTask`].
    pub(super) async fn read_agent_task(
        &self,
        agent: &AgentId,
        key: Option<&KeyId>,
        id: TaskId,
    ) -> Result<Task> {
        let task = self.read_task_and_breaker(agent, key, id).await?;
        if !task.is_known_to(agent) {
            return Err(TaskError::NotYourTask(id, agent.clone()).into());
        }
        Ok(task)
    }

    /// Reads a task and the agent's breaker in one call, and caches both.
    async fn read_task_and_breaker(
        &self,
        agent: &AgentId,
        key: Option<&KeyId>,
        id: TaskId,
    ) -> Result<Task> {
        let found = self.ports.tasks.find_for_agent(id, agent, key).await?;
        if found.is_key_revoked {
            return Err(AuthError::BadApiKey(agent.clone()).into());
        }
        let task = found.task.ok_or(TaskError::UnknownTask(id))?;
        self.cache_task(&task);
        self.breakers.insert(agent.clone(), found.breaker);
        Ok(task)
    }

    fn cache_task(&self, task: &Task) {
        let now = self.ports.clock.now();
        self.tasks.insert(task.id, (task.clone(), now));
    }

    /// Whether the agent runs the attempt, as far as this environment has cached within
    /// [`REPORTS_TAKEN_AFTER_END`]. The task may have ended in another environment.
    pub(super) fn is_known_running(
        &self,
        task: TaskId,
        attempt: Attempt,
        agent: &AgentId,
        now: Timestamp,
    ) -> bool {
        let cached = self.tasks.get(&task);
        cached.is_some_and(|(task, at)| {
            task.runs_uncancelled(attempt, agent) && now.since(at) < REPORTS_TAKEN_AFTER_END
        })
    }

    /// Applies an event of an agent to its task (a report, or the failure to send the task to it):
    /// a read unless this environment has cached the task (with the request to cancel it, if the
    /// agent reports that it was cancelled), a write, and the messages of
    /// [`Self::enqueue_follow_ups`]. The outcome of an attempt is written to the agent's breaker in
    /// the same transaction. A repeated report only sends the messages again.
    ///
    /// `key` is that of the connection over which the agent reports.
    ///
    /// # Errors
    /// The errors of [`Self::read_agent_task`], [`TaskError::TaskContended`] after too many version
    /// conflicts, and [`AuthError::BadApiKey`] if the key is revoked and the task has to be read, or
    /// the event would free or take a slot.
    pub(super) async fn apply_for_agent(
        &self,
        agent: &AgentId,
        key: Option<&KeyId>,
        id: TaskId,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<TransitionOutcome> {
        // The webhook's environment writes the request to cancel: a cached task without one is out
        // of date, unless the agent stops of its own accord. A read costs less than a version
        // conflict.
        let is_current = |task: &Task| {
            !matches!(event, TaskEvent::Cancelled(..)) || task.state.cancel_request().is_some()
        };
        let decide = self.decision_function(Some(agent), event, now);
        let has_effect =
            |task: &Task| is_current(task) && task.is_known_to(agent) && decide(task).is_ok();
        let cached = self.tasks.get(&id).map(|(task, _)| task);
        let task = match cached.filter(has_effect) {
            Some(task) => task,
            None => self.read_agent_task(agent, key, id).await?,
        };
        let record = completion.map(AttachedRecord::Completion);
        self.change_task(task, decide, record, key, now).await
    }

    /// Applies an event that is not one of an agent to a task that was just read.
    pub(super) async fn apply_to_loaded_task(
        &self,
        task: Task,
        event: &TaskEvent,
        now: Timestamp,
    ) -> Result<TransitionOutcome> {
        let decide = self.decision_function(None, event, now);
        self.change_task(task, decide, None, None, now).await
    }

    /// Returns the function that decides on an event: on one of the agent `sender`, if there is
    /// one.
    pub(super) fn decision_function(
        &self,
        sender: Option<&AgentId>,
        event: &TaskEvent,
        now: Timestamp,
    ) -> impl Fn(&Task) -> Decision + Send {
        let policy = &self.ports.settings.policy;
        move |task| {
            let next = match sender {
                Some(agent) => task.after_agent_event(agent, event.clone(), policy, now)?,
                None => task.after(event.clone(), policy, now)?,
            };
            let breaker_event = breaker::event_from_task(event, task, &next);
            Ok((next, breaker_event))
        }
    }

    /// Changes a task by `decide`, which is called again after a version conflict, and its agent's
    /// breaker by the event that `decide` returns, in the same transaction.
    pub(super) async fn change_task(
        &self,
        mut task: Task,
        decide: impl Fn(&Task) -> Decision + Send,
        record: Option<AttachedRecord<'_>>,
        key: Option<&KeyId>,
        now: Timestamp,
    ) -> Result<TransitionOutcome> {
        let id = task.id;
        let mut conflict_backoff = conflict_backoff();
        loop {
            let (next, breaker_event) = match decide(&task) {
                Ok(decided) => decided,
                Err(why) => return self.handle_unchanged(task, why, now).await,
            };
            let breaker_change = match breaker_event {
                Some(event) => {
                    self.decide_breaker_change(&task.agent_id, event, now)
                        .await?
                }
                None => None,
            };
            let change = breaker_change
                .as_ref()
                .map(|(before, after)| BreakerChange { before, after });
            let written = self
                .write_transition(&task, &next, record, change, key)
                .await?;
            if written == TransitionWritten::KeyRevoked {
                return Err(AuthError::BadApiKey(task.agent_id).into());
            }
            if written == TransitionWritten::Done {
                info!(task = %id, agent = %next.agent_id, from = task.state.name(), to = next.state.name(), "task changed");
                let gate = async {
                    match change {
                        Some(change) => {
                            self.schedule_dispatch_after_shut(&next.agent_id, change, now)
                                .await
                        }
                        None => Ok(()),
                    }
                };
                let written = self.ports.clock.now();
                futures::try_join!(self.enqueue_follow_ups(&next, written), gate)?;
                return Ok(TransitionOutcome::Changed(next));
            }
            let pause = conflict_backoff
                .next()
                .ok_or(TaskError::TaskContended(id))?;
            tokio::time::sleep(pause).await;
            task = self.read_task_and_breaker(&task.agent_id, key, id).await?;
        }
    }

    /// Writes a transition, and caches what was written.
    async fn write_transition(
        &self,
        before: &Task,
        after: &Task,
        record: Option<AttachedRecord<'_>>,
        change: Option<BreakerChange<'_>>,
        key: Option<&KeyId>,
    ) -> Result<TransitionWritten> {
        let written = self
            .ports
            .tasks
            .write_transition(before, after, record, change, key)
            .await?;
        if written == TransitionWritten::Done {
            self.cache_task(after);
            if let Some(change) = change {
                self.breakers
                    .insert(before.agent_id.clone(), change.after.clone());
            }
        }
        Ok(written)
    }

    /// Returns the agent's breaker before and after the event, if the event changes it: a call
    /// unless this environment has cached the breaker.
    async fn decide_breaker_change(
        &self,
        agent: &AgentId,
        event: BreakerEvent,
        now: Timestamp,
    ) -> Result<Option<(Breaker, Breaker)>> {
        let config = &self.ports.settings.breaker;
        if let Some(cached) = self.breakers.get(agent) {
            let next = cached.after(event.clone(), config, now).next;
            if next != cached {
                return Ok(Some((cached, next)));
            }
        }
        let before = self.ports.breakers.breaker(agent).await?;
        let Transition { next, verdict } = before.after(event, config, now);
        if let Verdict::Ignored(why) = verdict {
            info!(%agent, why = <&str>::from(why), "report ignored by the breaker");
        }
        Ok((next != before).then_some((before, next)))
    }

    /// Changes an agent's breaker by an event of no task. Returns the breaker before and after,
    /// for which
    /// [`Self::schedule_dispatch_after_shut`] is still to be called; `None` if others changed it at each try.
    pub(super) async fn change_breaker(
        &self,
        agent: &AgentId,
        event: &BreakerEvent,
        now: Timestamp,
    ) -> Result<Option<(Breaker, Breaker)>> {
        for pause in conflict_backoff().take(MAX_WRITE_TRIES) {
            let before = self.ports.breakers.breaker(agent).await?;
            let after = before
                .after(event.clone(), &self.ports.settings.breaker, now)
                .next;
            let change = BreakerChange {
                before: &before,
                after: &after,
            };
            if self.ports.breakers.change(agent, change).await? == Written::Done {
                return Ok(Some((before, after)));
            }
            tokio::time::sleep(pause).await;
        }
        Ok(None)
    }

    /// Logs a change of the breaker's gate. If the gate is shut, enqueues a dispatch of the agent's
    /// queue for the time until which it is shut, after which a probe is permitted or a drain is over;
    /// the sweeper enqueues it where SQS cannot delay a message as long.
    pub(super) async fn schedule_dispatch_after_shut(
        &self,
        agent: &AgentId,
        change: BreakerChange<'_>,
        now: Timestamp,
    ) -> Result<()> {
        if !change.changes_gate() {
            return Ok(());
        }
        let (before, after) = (change.before.state.name(), change.after.state.name());
        info!(%agent, before, after, "breaker gate changed");
        match change
            .after
            .gate()
            .shut_until(now)
            .map(|until| until.since(now))
        {
            Some(delay) if delay <= MAX_SQS_DELAY => {
                Ok(self.ports.request_dispatch_after(agent, delay).await?)
            }
            _ => Ok(()),
        }
    }

    /// Stores a late report: a transaction, and a message to the notifier. Only the first report of
    /// an attempt is stored; the task's state is unchanged.
    pub(super) async fn store_late_report(
        &self,
        mut task: Task,
        report: &LateReport,
        now: Timestamp,
    ) -> Result<()> {
        let id = task.id;
        for _ in 0..MAX_WRITE_TRIES {
            let record = Some(AttachedRecord::Late(report));
            if self
                .write_transition(&task, &task.with_late_report(), record, None, None)
                .await?
                == TransitionWritten::Done
            {
                info!(task = %id, attempt = %report.attempt, "late report stored");
                return self.enqueue_refresh(id, now).await;
            }
            let known = self.ports.tasks.late_reports(id).await?;
            task = self.read_task_and_breaker(&task.agent_id, None, id).await?;
            if known.iter().any(|late| late.attempt == report.attempt) {
                let is_shown = task.shown >= task.version;
                return if is_shown {
                    Ok(())
                } else {
                    self.enqueue_refresh(id, now).await
                };
            }
        }
        Err(TaskError::TaskContended(id).into())
    }

    /// Handles an event that changes nothing. A repeated event may follow a failure between the
    /// write and the sending of messages, so the messages are sent again.
    async fn handle_unchanged(
        &self,
        task: Task,
        why: Unchanged,
        now: Timestamp,
    ) -> Result<TransitionOutcome> {
        info!(task = %task.id, state = task.state.name(), why = <&str>::from(why), "task unchanged");
        if why == Unchanged::Duplicate {
            self.enqueue_follow_ups(&task, now).await?;
        }
        Ok(TransitionOutcome::Unchanged(task, why))
    }
}

/// Returns the waits after version conflicts: many tasks of one agent may end at once, and all of
/// them write its breaker. Up to 200 ms each, some 7 s in all, at random so that the writers do not
/// collide again.
pub(super) fn conflict_backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(2))
        .with_max_delay(Duration::from_millis(100))
        .with_max_times(50)
        .with_jitter()
        .build()
}
