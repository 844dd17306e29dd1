//! A task that is moved from one agent to another, and what is known of the earlier ones.

use super::{REROUTE_AFTER, Task, TaskEvent, TaskPolicy, TaskState, Unchanged};
use crate::{
    agent::Route,
    ids::{AgentId, Attempt},
    time::Timestamp,
};

impl Task {
    /// Whether another agent could have it: it waits, was not sent, and there is a choice.
    pub fn may_move(&self) -> bool {
        let waits = matches!(
            self.state,
            TaskState::Pending {
                undelivered: false,
                ..
            }
        );
        waits && self.route.as_ref().is_some_and(Route::has_choice)
    }

    /// When it has waited so long that another agent may be better for it.
    pub fn reroute_at(&self) -> Option<Timestamp> {
        self.may_move().then(|| self.updated_at + REROUTE_AFTER)
    }

    /// Whether the agent has it, or was sent it before it was moved.
    pub fn is_known_to(&self, agent: &AgentId) -> bool {
        self.agent_id == *agent || self.earlier.contains_key(agent)
    }

    /// Whether the agent was sent it, and another has it now or is done with it.
    pub fn went_on_without(&self, agent: &AgentId) -> bool {
        let gone = self.agent_id != *agent && self.earlier.contains_key(agent);
        gone && (self.state.held().is_some() || self.state.is_terminal())
    }

    /// The newest attempt that this agent was sent. Attempts are numbered across agents: those up to
    /// the last that an earlier agent was sent are not the present one's.
    pub fn last_attempt_of(&self, agent: &AgentId) -> Option<Attempt> {
        let own = self.state.last_attempt();
        let own = own.filter(|own| self.earlier.values().all(|earlier| earlier < own));
        match own {
            Some(own) if self.agent_id == *agent => Some(own),
            _ => self.earlier.get(agent).copied(),
        }
    }

    /// The task after what `sender` reports. One that it was moved away from speaks of an attempt
    /// that is over, never of the present agent's.
    ///
    /// # Errors
    /// [`Unchanged`] names why the event changes nothing.
    pub fn after_report(
        &self,
        sender: &AgentId,
        event: TaskEvent,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        if self.agent_id == *sender {
            return self.after(event, policy, now);
        }
        let last = self.earlier.get(sender);
        match (last, event.attempt()) {
            (Some(last), named) if named.is_none_or(|named| named <= *last) => Err(Unchanged::Late),
            _ => Err(Unchanged::NotHeld),
        }
    }

    pub(super) fn move_to(&mut self, agent: AgentId) {
        if let Some(attempt) = self.last_attempt_of(&self.agent_id) {
            self.earlier.insert(self.agent_id.clone(), attempt);
        }
        self.agent_id = agent;
    }
}
