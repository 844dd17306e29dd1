//! A task: an operator's request to run a prompt on an agent, and its progress.
//! [`TaskState::after`] is the one function that defines the legal transitions.

mod moving;
mod policy;
mod progress;
mod spec;
mod state;
mod terminal_message;
mod transition;

use std::{collections::BTreeMap, time::Duration};

pub(crate) use self::policy::REPORTS_TAKEN_AFTER_END;
use self::policy::{MAX_MOVE_CHECK_INTERVAL, MOVE_CHECK_AFTER, TaskTerms};
pub use self::{
    policy::{FLUSH_INTERVAL, FlushInterval, SHOWN_WITHIN, TaskPolicy},
    progress::{ChunkPosition, OutputChunk, OutputTail, Progress, ProgressReport},
    spec::{Completion, Origin, Priority, TaskSpec},
    state::{CancelRequest, Failure, FailureCode, Lease, TaskEvent, TaskState, Unchanged},
    terminal_message::{LateReport, TerminalMessage},
};
use crate::agent::Route;
use bematic_protocol::{
    ids::{AgentId, Attempt, InvalidId, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// A task without its specification and results: every transition writes the whole record.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The task's id.
    pub id: TaskId,
    /// The agent that the task is queued for or runs on.
    pub agent_id: AgentId,
    /// The agents that the task may be moved to; `None` where there is no choice.
    pub route: Option<Route>,
    /// The agents that were sent the task before it was moved, and the newest attempt of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<AgentId, Attempt>,
    /// The project that the task belongs to.
    pub project_id: String,
    /// The prompt's first line, cut to [`Task::TITLE_CHARS`].
    pub title: String,
    /// The place in Slack where the task was requested.
    pub origin: Origin,
    /// The task's priority.
    #[serde(default)]
    pub priority: Priority,
    /// The time of the operator's request.
    pub created_at: Timestamp,
    /// The task's place among those of its priority: the time of the request, or of the last retry.
    pub queued_at: Timestamp,
    /// The time at which a waiting task expires. (DynamoDB deletes items by `expiresAt`.)
    #[serde(rename = "waitsUntil")]
    pub expires_at: Timestamp,
    /// The length of the task's lease in milliseconds, if its project sets one.
    pub lease_ms: Option<u64>,
    /// The time at which the state changed last.
    pub updated_at: Timestamp,
    /// The time at which a refresh of the card was last enqueued.
    pub refresh_at: Timestamp,
    /// The number of times the task was written: the condition of the next write.
    pub version: u64,
    /// The version that Slack shows. It is written independently of the state.
    #[serde(default)]
    pub shown: u64,
    /// The time at which the state's timer ends.
    pub timer: Option<Timestamp>,
    /// The newest attempt whose agent sent a terminal message, which is not late if it is repeated.
    pub reported: Option<Attempt>,
    /// Whether the task has [`LateReport`]s.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whether the task is archived: lists leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    /// The task's state.
    #[serde(flatten)]
    pub state: TaskState,
}

impl Task {
    /// The maximum number of characters of a title.
    pub const TITLE_CHARS: usize = 150;

    /// Returns a new, pending task.
    pub fn new(
        id: TaskId,
        agent_id: AgentId,
        spec: &TaskSpec,
        origin: Origin,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Self {
        let expires_at = now + policy.wait;
        Self {
            id,
            agent_id,
            route: None,
            earlier: BTreeMap::new(),
            project_id: spec.project_id.clone(),
            title: title_from_prompt(&spec.prompt),
            origin,
            priority: Priority::default(),
            created_at: now,
            queued_at: now,
            expires_at,
            lease_ms: spec.lease_secs.map(|secs| secs.saturating_mul(1000)),
            updated_at: now,
            refresh_at: now,
            version: 1,
            shown: 0,
            timer: Some(expires_at),
            reported: None,
            late: false,
            archived: false,
            state: TaskState::NEW,
        }
    }

    /// Whether the task may be claimed now: it is pending, and its backoff is over.
    pub fn is_claimable(&self, now: Timestamp) -> bool {
        self.after(TaskEvent::Claimed, &TaskPolicy::default(), now)
            .is_ok()
    }

    /// Returns the task after `event`, ready to be written in place of this one.
    pub fn after(
        &self,
        event: TaskEvent,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        if matches!(&event, TaskEvent::Moved(agent) if *agent == self.agent_id) {
            return Err(Unchanged::Duplicate);
        }
        let terms = self.terms(policy);
        let state = match (self.state.after(event.clone(), &terms, now), &event) {
            // The deployment's settings have lengthened the timer since it was stored.
            (Err(Unchanged::NotDue), TaskEvent::Tick { .. })
                if self.timer != self.state.timer_ends_at(&terms) =>
            {
                self.state.clone()
            }
            (state, _) => state?,
        };
        let mut next = Self {
            state,
            version: self.version + 1,
            updated_at: now,
            ..self.clone()
        };
        if FlushInterval::of(self.refresh_at) != FlushInterval::of(now) {
            next.refresh_at = now;
        }
        match event {
            TaskEvent::Moved(agent) => next.change_agent(agent),
            TaskEvent::Completed(_) | TaskEvent::Failed(..) | TaskEvent::Cancelled(..) => {
                next.reported = next.state.last_attempt();
            }
            TaskEvent::Retried => {
                next.queued_at = now;
                next.expires_at = now + policy.wait;
                next.archived = false;
            }
            _ => {}
        }
        next.timer = next.state.timer_ends_at(&next.terms(policy));
        Ok(next)
    }

    /// Whether a refresh for an earlier change is under way and will show the last change, too.
    /// `now` is after the last change was written.
    pub(crate) fn refresh_is_under_way(&self, now: Timestamp) -> bool {
        self.refresh_at < self.updated_at
            && FlushInterval::of(self.refresh_at) == FlushInterval::of(now)
    }

    /// Whether the agent runs the attempt, and no cancellation is requested.
    pub fn runs_uncancelled(&self, attempt: Attempt, agent: &AgentId) -> bool {
        self.agent_id == *agent
            && matches!(
                self.state,
                TaskState::Processing { attempt: held, cancel: None, .. } if held == attempt
            )
    }

    /// Whether steps and output of an attempt are still stored: it is the one that runs, or the
    /// task has changed a short while ago ([`REPORTS_TAKEN_AFTER_END`]).
    pub(crate) fn takes_reports_of(&self, attempt: Attempt, now: Timestamp) -> bool {
        self.state.held_attempt() == Some(attempt)
            || now.since(self.updated_at) <= REPORTS_TAKEN_AFTER_END
    }

    /// Whether the lease is the one that began with the attempt: no timer message was sent for it.
    pub(crate) fn has_first_lease(&self) -> bool {
        matches!(
            &self.state,
            TaskState::Processing { started_at, lease, .. } if lease.heard_at == *started_at
        )
    }

    /// Returns the task after a late report was recorded.
    #[must_use]
    pub fn with_late_report(&self) -> Self {
        Self {
            late: true,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// Returns the task, archived, if it is over.
    pub fn to_archived(&self) -> Result<Self, Unchanged> {
        if self.archived {
            return Err(Unchanged::Duplicate);
        }
        if !self.state.is_terminal() {
            return Err(Unchanged::NotDue);
        }
        Ok(Self {
            archived: true,
            version: self.version + 1,
            ..self.clone()
        })
    }

    /// Returns the length of the task's lease: how long the agent may be silent about it.
    pub fn lease_length(&self, policy: &TaskPolicy) -> Duration {
        self.lease_ms.map_or(policy.lease, Duration::from_millis)
    }

    fn terms<'a>(&self, policy: &'a TaskPolicy) -> TaskTerms<'a> {
        TaskTerms {
            policy,
            lease: self.lease_length(policy),
            expires_at: self.expires_at,
        }
    }

    /// Returns the time at which the task has to be checked by the sweeper.
    pub fn due_at(&self) -> Option<Timestamp> {
        let unshown = (self.shown < self.version).then(|| self.updated_at + SHOWN_WITHIN);
        let times = [self.timer, unshown, self.first_move_check_at()];
        times.into_iter().flatten().min()
    }

    /// Returns the time of the next check after one at `now` that changed nothing. The interval
    /// doubles, so that tasks that Slack does not accept do not crowd out others.
    pub(crate) fn postponed_check_at(&self, now: Timestamp) -> Timestamp {
        let again = now + now.since(self.updated_at).max(SHOWN_WITHIN);
        let move_check = self.may_move().then(|| now + MAX_MOVE_CHECK_INTERVAL);
        [self.timer, move_check]
            .into_iter()
            .flatten()
            .fold(again, Timestamp::min)
    }

    /// Returns the task's sort key in its channel's list, which begins with the greatest.
    pub fn channel_sort_key(&self) -> String {
        format!("{}#{}", self.created_at, self.id)
    }

    /// Returns the sort key below or at which all tasks lie that were created at `at` or earlier.
    pub(crate) fn max_channel_sort_key(at: Timestamp) -> String {
        format!("{at}#{}", uuid::Uuid::max())
    }

    /// Returns the slot of the agent's capacity that the task occupies, if it was sent.
    pub fn slot(&self) -> Option<Slot> {
        let (task_id, attempt) = (self.id, self.state.held_attempt()?);
        Some(Slot { task_id, attempt })
    }
}

fn title_from_prompt(prompt: &str) -> String {
    let line = prompt
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    if line.chars().count() <= Task::TITLE_CHARS {
        return line.to_owned();
    }
    let start = line.chars().take(Task::TITLE_CHARS - 1);
    start.chain(['…']).collect()
}

/// The right to run an attempt. Releasing the slot of an attempt twice is the same as once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that occupies the slot.
    pub attempt: Attempt,
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.task_id, self.attempt)
    }
}

impl std::str::FromStr for Slot {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const INVALID: InvalidId = InvalidId("slot", "a task id, '#' and an attempt");
        let (task, attempt) = text.split_once('#').ok_or(INVALID)?;
        let number: u32 = attempt.parse().map_err(|_| INVALID)?;
        Ok(Self {
            task_id: task.parse()?,
            attempt: number.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests;
