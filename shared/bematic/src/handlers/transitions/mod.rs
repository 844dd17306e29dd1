//! Applying an event to a stored task: read, decide, write on condition, then tell.

mod messages;
mod seen;

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    time::Timestamp,
};
use tracing::info;

use self::seen::Seen;
use crate::{
    breaker::{self, Breaker, BreakerConfig, BreakerEvent, Step, Verdict},
    error::{BematicError, QueueError, StoreError, TaskError},
    ports::{DispatchMessage, Kept, Ports, Turn, Written},
    task::{Completion, LateReport, Task, TaskEvent, TaskPolicy, Unchanged},
};

/// Lost races in a row about a task before giving up; the sender repeats.
const TRIES: u32 = 8;
/// The longest that SQS delays a message.
const LONGEST_DELAY: Duration = Duration::from_mins(15);

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
    ports: Arc<Ports>,
    seen: Arc<Seen>,
}

impl Transitions {
    /// On the tasks and breakers of these ports, and their queues.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            ports,
            seen: Arc::default(),
        }
    }

    /// The task as it is now, if it is the agent's, or was before it was moved to another: one call,
    /// which reads the agent's breaker too.
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
        self.seen.note_task(&task);
        self.seen.note_breaker(agent, breaker);
        Ok(task)
    }

    /// Whether the agent is known here to run the attempt.
    pub(super) fn runs(&self, task: TaskId, attempt: Attempt, agent: &AgentId) -> bool {
        let seen = self.seen.task(task);
        seen.is_some_and(|task| task.runs(attempt, agent))
    }

    /// What applies to all tasks.
    pub fn policy(&self) -> &TaskPolicy {
        &self.ports.settings.policy
    }

    /// What applies to breakers without settings of their own.
    pub fn breaker(&self) -> &BreakerConfig {
        &self.ports.settings.breaker
    }

    /// Applies what the agent reports to its task: a read unless this environment has seen the task,
    /// a write, and what [`Self::announce`] sends. What an attempt came to is written to the agent's
    /// breaker in the same transaction. Repeated, it only sends again.
    ///
    /// # Errors
    /// As [`Self::task_of`], and [`TaskError::Contended`] after too many version conflicts.
    pub async fn apply(
        &self,
        agent: &AgentId,
        id: TaskId,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let does_something = |task: &Task| {
            task.is_known_to(agent) && self.does_nothing(agent, task, event, now).is_none()
        };
        let task = match self.seen.task(id).filter(does_something) {
            Some(task) => task,
            None => self.task_of(agent, id).await?,
        };
        self.apply_report(agent, task, event, completion, now).await
    }

    /// What the agent's report would do to a task, if that is nothing.
    pub(super) fn does_nothing(
        &self,
        agent: &AgentId,
        task: &Task,
        event: &TaskEvent,
        now: Timestamp,
    ) -> Option<Unchanged> {
        let next = task.after_report(agent, event.clone(), &self.ports.settings.policy, now);
        next.err()
    }

    /// The same as [`Self::apply`] to a task that was read already.
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
        let decide = |task: &Task| {
            let next = task.after_report(agent, event.clone(), &self.ports.settings.policy, now)?;
            let report = breaker::report(event, task, &next);
            Ok((next, report))
        };
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
        let decide = |task: &Task| {
            let next = task.after(event.clone(), &self.ports.settings.policy, now)?;
            let report = breaker::report(event, task, &next);
            Ok((next, report))
        };
        let kept = completion.map(Kept::Completion);
        self.change(task, decide, kept, now).await
    }

    /// Changes a task that was read as `decide` says, which is asked anew after a version conflict,
    /// and its agent's breaker by what that says about the agent, in the same transaction.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) async fn change(
        &self,
        mut task: Task,
        decide: impl Fn(&Task) -> Result<(Task, Option<BreakerEvent>), Unchanged> + Send,
        kept: Option<Kept<'_>>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let id = task.id;
        let mut pauses = pauses();
        loop {
            let (next, report) = match decide(&task) {
                Ok(decided) => decided,
                Err(why) => return self.unchanged(task, why, now).await,
            };
            let turned = match report {
                Some(report) => self.turned(&task.agent_id, report, now).await?,
                None => None,
            };
            let turn = turned
                .as_ref()
                .map(|(before, after)| Turn { before, after });
            match self
                .ports
                .tasks
                .transition(&task, &next, kept, turn)
                .await?
            {
                Written::Done => {
                    info!(task = %id, agent = %next.agent_id, from = task.state.name(), to = next.state.name(), "task changed");
                    self.seen.note_task(&next);
                    if let Some(turn) = turn {
                        self.seen.note_breaker(&task.agent_id, turn.after.clone());
                    }
                    let moved = async { Ok(self.moved(&next.agent_id, turn, now).await?) };
                    let written = self.ports.clock.now();
                    futures::try_join!(self.announce(&next, written), moved)?;
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

    /// The agent's breaker before and after the report, if that changes anything: a call unless this
    /// environment has seen it.
    async fn turned(
        &self,
        agent: &AgentId,
        report: BreakerEvent,
        now: Timestamp,
    ) -> Result<Option<(Breaker, Breaker)>, StoreError> {
        let config = &self.ports.settings.breaker;
        if let Some(seen) = self.seen.breaker(agent) {
            let next = seen.after(report.clone(), config, now).next;
            if next != seen {
                return Ok(Some((seen, next)));
            }
        }
        let before = self.ports.breakers.breaker(agent).await?;
        let Step { next, verdict } = before.after(report, config, now);
        if let Verdict::Ignored(why) = verdict {
            info!(%agent, why = <&str>::from(why), "says nothing about the agent");
        }
        Ok((next != before).then_some((before, next)))
    }

    async fn moved(
        &self,
        agent: &AgentId,
        turn: Option<Turn<'_>>,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        match turn {
            Some(turn) => self.gate_moved(agent, turn, now).await,
            None => Ok(()),
        }
    }

    /// Has the dispatcher look at the agent's queue when a breaker that has opened may be tried
    /// again, as far as SQS can wait; the rest is left to the sweeper.
    ///
    /// # Errors
    /// The queue's.
    pub(super) async fn gate_moved(
        &self,
        agent: &AgentId,
        turn: Turn<'_>,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        if !turn.moves_gate() {
            return Ok(());
        }
        let (before, after) = (turn.before.state.name(), turn.after.state.name());
        info!(%agent, before, after, "what the breaker lets through has changed");
        let Some(until) = turn.after.gate().is_shut_until(now) else {
            return Ok(());
        };
        let delay = until.since(now);
        if delay > LONGEST_DELAY {
            return Ok(());
        }
        let drain = DispatchMessage::drain(agent.clone());
        self.ports.dispatch.send(&drain, delay).await
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
            match self
                .ports
                .tasks
                .transition(&task, &next, kept, None)
                .await?
            {
                Written::Done => {
                    info!(task = %id, attempt = %report.attempt, "late report kept");
                    self.seen.note_task(&next);
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

    /// A repeated event may come of a failure between the write and the send.
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

/// The waits between lost races: many tasks of one agent may end at once, and all of them meet in
/// its breaker. Up to 200 ms each, some 7 s in all, at random so that they do not meet again.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(2))
        .with_max_delay(Duration::from_millis(100))
        .with_max_times(50)
        .with_jitter()
        .build()
}
