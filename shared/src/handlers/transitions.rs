//! Applying an event to a stored task: read, decide, write on condition, then tell.

use std::{iter, sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::Instant;
use tracing::info;

use crate::{
    breaker::{self, Breaker, BreakerConfig, BreakerEvent, Step, Verdict},
    error::{BematicError, QueueError, StoreError, TaskError},
    ids::{AgentId, Attempt, TaskId},
    ports::{
        Blind, Breakers, DispatchMessage, DispatchQueue, Kept, Notifications, Show, Tasks, Turn,
        Written,
    },
    task::{
        Begin, Complete, Completion, LateReport, SHOWN_WITHIN, Task, TaskEvent, TaskPolicy,
        TaskState, Unchanged,
    },
    time::Timestamp,
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
    tasks: Arc<dyn Tasks>,
    breakers: Arc<dyn Breakers>,
    dispatch: Arc<dyn DispatchQueue>,
    notifications: Arc<dyn Notifications>,
    policy: TaskPolicy,
    breaker: BreakerConfig,
}

impl Transitions {
    /// With what it reads, writes and tells.
    pub fn new(
        tasks: Arc<dyn Tasks>,
        breakers: Arc<dyn Breakers>,
        dispatch: Arc<dyn DispatchQueue>,
        notifications: Arc<dyn Notifications>,
        policy: TaskPolicy,
        breaker: BreakerConfig,
    ) -> Self {
        Self {
            tasks,
            breakers,
            dispatch,
            notifications,
            policy,
            breaker,
        }
    }

    /// The task, if it is the agent's, or was before it was moved to another.
    ///
    /// # Errors
    /// [`TaskError::Unknown`] and [`TaskError::NotYours`].
    pub async fn task_of(&self, agent: &AgentId, id: TaskId) -> Result<Task, BematicError> {
        known_to(agent, self.find(id).await?)
    }

    async fn find(&self, id: TaskId) -> Result<Task, BematicError> {
        let task = self.tasks.find(id).await?;
        Ok(task.ok_or(TaskError::Unknown { task_id: id })?)
    }

    /// What applies to all tasks.
    pub const fn policy(&self) -> &TaskPolicy {
        &self.policy
    }

    /// What applies to breakers without settings of their own.
    pub const fn breaker(&self) -> &BreakerConfig {
        &self.breaker
    }

    /// Applies what the agent reports to its task: a read, a write, and what [`Self::tell`] sends. An
    /// attempt that is over by it is told to the agent's breaker: a read more. Repeated, it only
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

    /// An attempt has begun: a write and a message where the task is as it mostly is then, else as
    /// [`Self::apply`].
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) async fn begin(
        &self,
        agent: &AgentId,
        task_id: TaskId,
        attempt: Option<Attempt>,
        said_at: Timestamp,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let begin = Begin {
            task_id,
            agent,
            attempt,
            said_at,
            lease: self.policy.lease,
            now,
        };
        let event = TaskEvent::Started { attempt, said_at };
        let started = Instant::now();
        match self.tasks.begin(&begin).await? {
            Blind::Done(task) => {
                info!(task = %task_id, %agent, to = task.state.name(), "task changed");
                self.tell(&task, now + started.elapsed()).await?;
                Ok(Outcome::Changed(*task))
            }
            Blind::Unusual(task) => {
                self.otherwise(agent, task_id, task, &event, None, now)
                    .await
            }
        }
    }

    /// An attempt is done: a transaction and a message where the task and its agent's breaker are
    /// as they mostly are then, which says nothing of the task; else as [`Self::apply`].
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) async fn complete(
        &self,
        agent: &AgentId,
        task_id: TaskId,
        attempt: Option<Attempt>,
        completion: &Completion,
        now: Timestamp,
    ) -> Result<Option<Outcome>, BematicError> {
        let mut task = None;
        if let Some(attempt) = attempt {
            let complete = Complete {
                task_id,
                agent,
                attempt,
                completion,
                slow_after: self.breaker.slow_after(),
                now,
            };
            match self.tasks.complete(&complete).await? {
                Blind::Done(()) => {
                    info!(task = %task_id, %agent, to = "completed", "task changed");
                    // A slot is free, and Slack is to show it.
                    let drain = DispatchMessage::Drain {
                        agent_id: agent.clone(),
                        show: Some(Show::completed(complete.slot())),
                    };
                    self.dispatch.send(&drain, Duration::ZERO).await?;
                    return Ok(None);
                }
                Blind::Unusual(found) => task = found,
            }
        }
        let event = TaskEvent::Completed(attempt);
        let completion = Some(completion);
        let outcome = self
            .otherwise(agent, task_id, task, &event, completion, now)
            .await?;
        Ok(Some(outcome))
    }

    /// What was not written blindly, with the task as that found it.
    async fn otherwise(
        &self,
        agent: &AgentId,
        id: TaskId,
        task: Option<Box<Task>>,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let task = match task {
            Some(task) => known_to(agent, *task)?,
            None => self.task_of(agent, id).await?,
        };
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
        let decide = |task: &Task| {
            let next = task.after_report(agent, event.clone(), &self.policy, now)?;
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
            let next = task.after(event.clone(), &self.policy, now)?;
            let report = breaker::report(event, task, &next);
            Ok((next, report))
        };
        let kept = completion.map(Kept::Completion);
        self.change(task, decide, kept, now).await
    }

    /// Changes a task that was just read as `decide` says, which is asked anew after a lost race,
    /// and tells the agent's breaker what that says about the agent, in the same transaction.
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
        let started = Instant::now();
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
            match self.tasks.transition(&task, &next, kept, turn).await? {
                Written::Done => {
                    info!(task = %id, agent = %next.agent_id, from = task.state.name(), to = next.state.name(), "task changed");
                    let moved = async {
                        match turn {
                            Some(turn) => Ok(self.gate_moved(&next.agent_id, turn, now).await?),
                            None => Ok(()),
                        }
                    };
                    let written = now + started.elapsed();
                    futures::try_join!(self.tell(&next, written), moved)?;
                    return Ok(Outcome::Changed(next));
                }
                Written::Conflict => {
                    let Some(pause) = pauses.next() else {
                        return Err(TaskError::Contended { task_id: id }.into());
                    };
                    tokio::time::sleep(pause).await;
                    task = self.find(id).await?;
                }
            }
        }
    }

    /// The agent's breaker before and after the report, if that changes anything.
    async fn turned(
        &self,
        agent: &AgentId,
        report: BreakerEvent,
        now: Timestamp,
    ) -> Result<Option<(Breaker, Breaker)>, StoreError> {
        let before = self.breakers.breaker(agent).await?;
        let Step { next, verdict } = before.after(report, &self.breaker, now);
        if let Verdict::Ignored(why) = verdict {
            info!(%agent, why = <&str>::from(why), "says nothing about the agent");
        }
        Ok((next != before).then_some((before, next)))
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
        self.dispatch.send(&drain, delay).await
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
            match self.tasks.transition(&task, &next, kept, None).await? {
                Written::Done => {
                    info!(task = %id, attempt = %report.attempt, "late report kept");
                    return Ok(self.notifications.show(&Show::of(&next)).await?);
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
            self.notifications.show(&Show::again(task, now)).await?;
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

    /// Tells whoever may have something to do now: a call to the dispatcher's queue, which has the
    /// task shown too where it is to look at once; else one to the notifier's unless a refresh is
    /// under way, and one more where the dispatcher is to look at the task itself.
    ///
    /// # Errors
    /// The queues'.
    pub(super) async fn tell(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        let show = Show::of(task);
        if is_drained(task) {
            return self.wake(task, Some(show), now).await;
        }
        if task.is_told_of(now) {
            return self.wake(task, None, now).await;
        }
        let shown = async { Ok(self.notifications.show(&show).await?) };
        futures::try_join!(shown, self.wake(task, None, now))?;
        Ok(())
    }

    /// The same for many, with as few calls as there can be: ten are shown by one, and an agent's
    /// queue is looked at once. A drain that has each shown would be one call fewer here, and in the
    /// dispatcher one for each task, and a drain.
    ///
    /// # Errors
    /// The queues'.
    pub(super) async fn tell_all(
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
            self.notifications.show_all(&shows),
            self.dispatch.send_all(&messages)
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
        Ok(self.dispatch.send_all(&messages).await?)
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

/// The task, if it is the agent's, or was before it was moved to another.
fn known_to(agent: &AgentId, task: Task) -> Result<Task, BematicError> {
    if task.is_known_to(agent) {
        return Ok(task);
    }
    Err(TaskError::NotYours {
        task_id: task.id,
        agent_id: agent.clone(),
    }
    .into())
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
    let message = DispatchMessage::Task {
        task_id: task.id,
        agent_id: task.agent_id.clone(),
    };
    (delay <= LONGEST_DELAY).then_some((message, delay))
}
