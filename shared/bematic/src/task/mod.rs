//! A task: what an operator asked for, and how far it is.
//!
//! [`TaskState`] is the state, [`TaskState::after`] the one function that says which transitions
//! are legal. It reads no clock and does no I/O; [`bematic_aws::store`] applies what it decides as a
//! conditional write.

mod ending;
mod late;
mod policy;
mod progress;
mod rerouting;
mod spec;
mod state;
mod transition;

use std::{collections::BTreeMap, time::Duration};

pub use self::{
    ending::Ending,
    late::LateReport,
    policy::{
        FLUSH_INTERVAL, FlushInterval, REROUTE_AFTER, REROUTE_EVERY, SHOWN_WITHIN, TaskPolicy,
        Terms,
    },
    progress::{Chunk, ChunkOrder, Progress, Step},
    spec::{Completion, Origin, Priority, TaskSpec},
    state::{CancelRequest, Failure, FailureCode, Lease, TaskEvent, TaskState, Unchanged},
};
use crate::agent::Route;
use bematic_protocol::{
    ids::{AgentId, Attempt, InvalidId, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// A task without what it carries: small, since every transition writes it whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The agent that it is for.
    pub agent_id: AgentId,
    /// The agents that it may go to instead; none where there is no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The agents that were sent it before it was moved to another, and their newest attempts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<AgentId, Attempt>,
    /// The project that it belongs to.
    pub project_id: String,
    /// The prompt's first line, cut to [`Task::TITLE_CHARS`].
    pub title: String,
    /// Where it was asked for.
    pub origin: Origin,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Its place among those of its priority: when it was asked for, or tried anew.
    pub queued_at: Timestamp,
    /// When it has waited long enough. (Not `expiresAt`, by which DynamoDB deletes items.)
    #[serde(rename = "waitsUntil")]
    pub expires_at: Timestamp,
    /// How long its agent may be silent about it, if its project says so: in milliseconds, as a
    /// blind write adds it to the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// When its state changed last.
    pub updated_at: Timestamp,
    /// When a refresh of its card was last called for: one is enqueued within that flush interval.
    pub refresh_at: Timestamp,
    /// How often it changed: the condition of the next write.
    pub version: u64,
    /// The version that Slack shows. Written beside the state, which does not depend on it.
    #[serde(default)]
    pub shown: u64,
    /// When its state ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<Timestamp>,
    /// The newest attempt whose end its agent has reported: once more is not late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Attempt>,
    /// Whether there are [`LateReport`]s of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whether it was put away: lists leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    /// How far it is.
    #[serde(flatten)]
    pub state: TaskState,
}

impl Task {
    /// Characters of a title.
    pub const TITLE_CHARS: usize = 150;

    /// A new task, pending.
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
            title: title(&spec.prompt),
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

    /// The task after `event`, ready to be written in place of this one.
    ///
    /// # Errors
    /// [`Unchanged`] names why the event changes nothing.
    pub fn after(
        &self,
        event: TaskEvent,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let anew = event == TaskEvent::Retried;
        let moved_to = match &event {
            TaskEvent::Rerouted(agent) => Some(agent.clone()),
            _ => None,
        };
        if moved_to.as_ref() == Some(&self.agent_id) {
            return Err(Unchanged::Duplicate);
        }
        let reported = matches!(
            event,
            TaskEvent::Completed(_) | TaskEvent::Failed(..) | TaskEvent::Cancelled(..)
        );
        let terms = self.terms(policy);
        let is_tick = matches!(event, TaskEvent::Tick { .. });
        let state = match self.state.after(event, &terms, now) {
            // A deployment gives it longer by now.
            Err(Unchanged::NotDue) if is_tick && self.timer != self.state.timer(&terms) => {
                self.state.clone()
            }
            state => state?,
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
        if let Some(agent) = moved_to {
            next.move_to(agent);
        }
        if reported {
            next.reported = next.state.last_attempt();
        }
        if anew {
            next.queued_at = now;
            next.expires_at = now + policy.wait;
            next.archived = false;
        }
        next.timer = next.state.timer(&next.terms(policy));
        Ok(next)
    }

    /// Whether a refresh that an earlier change called for is under way and will show the last one,
    /// so that none has to be enqueued. `now` is after the last change was written.
    pub fn refresh_is_under_way(&self, now: Timestamp) -> bool {
        self.refresh_at < self.updated_at
            && FlushInterval::of(self.refresh_at) == FlushInterval::of(now)
    }

    /// Whether the agent runs the attempt, and nobody wants it to stop.
    pub fn runs(&self, attempt: Attempt, agent: &AgentId) -> bool {
        let runs = matches!(
            self.state,
            TaskState::Processing { attempt: held, cancel: None, .. } if held == attempt
        );
        runs && self.agent_id == *agent
    }

    /// Whether its lease is the one that began with the attempt, which sent no message for it.
    pub fn has_first_lease(&self) -> bool {
        matches!(
            &self.state,
            TaskState::Processing { started_at, lease, .. } if lease.heard_at == *started_at
        )
    }

    /// The task once it has a late report: its state is what it was.
    #[must_use]
    pub fn with_late_report(&self) -> Self {
        Self {
            late: true,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// The task put away.
    ///
    /// # Errors
    /// It is not over yet, or was put away before.
    pub fn put_away(&self) -> Result<Self, Unchanged> {
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

    /// How long its agent may be silent about it.
    pub fn lease(&self, policy: &TaskPolicy) -> Duration {
        self.lease_ms.map_or(policy.lease, Duration::from_millis)
    }

    fn terms<'a>(&self, policy: &'a TaskPolicy) -> Terms<'a> {
        Terms {
            policy,
            lease: self.lease(policy),
            expires_at: self.expires_at,
        }
    }

    /// When somebody should look at it: its timer ends, Slack should show it by now, or another
    /// agent may be better for it.
    pub fn due_at(&self) -> Option<Timestamp> {
        let unshown = (self.shown < self.version).then(|| self.updated_at + SHOWN_WITHIN);
        let times = [self.timer, unshown, self.reroute_at()];
        times.into_iter().flatten().min()
    }

    /// When somebody should look at it anew after `now`, since Slack does not show a change, or
    /// there was no better agent for it: after twice as long each time, so that what Slack does not
    /// take leaves room for what is due.
    pub fn look_again_at(&self, now: Timestamp) -> Timestamp {
        let again = now + now.since(self.updated_at).max(SHOWN_WITHIN);
        let again = if self.may_move() {
            again.min(now + REROUTE_EVERY)
        } else {
            again
        };
        self.timer.map_or(again, |timer| timer.min(again))
    }

    /// Its place in its channel's list, which begins with the greatest.
    pub fn place(&self) -> String {
        Self::place_of(self.created_at, self.id)
    }

    /// The place of whatever was asked for at `at` or earlier: below it, or here.
    pub fn place_until(at: Timestamp) -> String {
        Self::place_of(at, TaskId::new(uuid::Uuid::max()))
    }

    fn place_of(at: Timestamp, id: TaskId) -> String {
        format!("{at}#{id}")
    }

    /// The slot that it takes of its agent's capacity: `None` unless it is at the agent.
    pub fn slot(&self) -> Option<Slot> {
        self.state.held().map(|attempt| Slot {
            task_id: self.id,
            attempt,
        })
    }
}

fn title(prompt: &str) -> String {
    let line = prompt
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    if line.chars().count() <= Task::TITLE_CHARS {
        return line.to_owned();
    }
    line.chars()
        .take(Task::TITLE_CHARS - 1)
        .chain(['…'])
        .collect()
}

/// A task's place among those that its agent runs: freeing it twice is the same as once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that took it.
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
        const INVALID: InvalidId = InvalidId::new("slot", "a task id, '#' and an attempt");
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
