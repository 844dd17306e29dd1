//! The choice of an agent for a task, and the choice of a better agent for a task that waits. Pure:
//! the data is read by [`crate::handlers::routing`].

use std::cmp::Ordering;

use bematic_protocol::{ids::AgentId, messages::Availability, time::Timestamp};

use super::Agent;

/// An agent as a candidate for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The agent's id.
    pub id: AgentId,
    /// Whether the agent is connected and available, and not in doubt.
    pub connected: bool,
    /// The state of the agent's breaker.
    pub health: Health,
    /// The number of occupied slots.
    pub held: usize,
    /// The number of tasks that wait for the agent, as far as they were counted.
    pub waiting: usize,
    /// The number of tasks that the agent runs at once.
    pub capacity: usize,
}

/// The state of an agent's breaker, for the choice of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The breaker permits all tasks.
    Good,
    /// The breaker permits probes.
    Probing,
    /// The breaker permits no tasks for now.
    Bad,
}

impl Candidate {
    /// Creates a candidate from an agent's record, without the number of waiting tasks, which has
    /// to be counted.
    pub fn of(agent: &Agent, now: Timestamp) -> Self {
        let hears = |doubt: bool| !doubt && agent.availability == Availability::Online;
        let binding = agent.connection.as_ref();
        Self {
            id: agent.id.clone(),
            connected: binding.is_some_and(|bound| hears(bound.is_in_doubt())),
            health: if agent.gate.is_open(now) {
                Health::Good
            } else if agent.gate.is_shut_until(now).is_some() {
                Health::Bad
            } else {
                Health::Probing
            },
            held: agent.held.len(),
            waiting: 0,
            capacity: usize::try_from(agent.capacity).unwrap_or(usize::MAX),
        }
    }

    /// Whether the agent is connected and its breaker permits all tasks.
    pub fn is_ready(&self) -> bool {
        self.connected && self.health == Health::Good
    }

    /// Whether the agent is connected and its breaker permits probes.
    pub fn may_probe(&self) -> bool {
        self.connected && self.health == Health::Probing
    }

    /// Whether the agent could be sent tasks now.
    pub fn is_usable(&self) -> bool {
        self.is_ready() || self.may_probe()
    }

    /// Returns the number of tasks that the agent has and that wait for it.
    pub const fn load(&self) -> usize {
        self.held.saturating_add(self.waiting)
    }

    /// Whether one more task could be sent at once.
    pub const fn has_room(&self) -> bool {
        self.load() < self.capacity
    }

    /// Whether the agent has no tasks, and could be sent one.
    const fn is_idle(&self) -> bool {
        self.load() == 0 && self.has_room()
    }

    /// Compares the occupied share of the capacity; an agent without capacity comes last.
    pub fn by_load(&self, other: &Self) -> Ordering {
        let part = |load: usize, of: usize| load as u128 * of as u128;
        let none = (self.capacity == 0).cmp(&(other.capacity == 0));
        none.then_with(|| part(self.load(), other.capacity).cmp(&part(other.load(), self.capacity)))
    }
}

/// Chooses the agent for a new task from the candidates, which are in order of preference: of
/// equals, the first.
///
/// 1. Of the ready agents (connected, breaker closed), the least loaded. But an idle agent whose
///    breaker permits probes comes first, with this one task: it would never be found to be healthy
///    again if others always took its tasks, and if the probe fails, no more tasks are sent to it for
///    a recovery timeout.
/// 2. Of the connected agents whose breaker permits probes, the least loaded. It comes before an
///    agent that is offline: the breaker closes by the outcomes of probes, and it is unknown when the
///    other agent returns.
/// 3. The first offline agent whose breaker is closed: the task waits for it.
/// 4. The first candidate.
pub fn choose<'a>(candidates: &[&'a Candidate]) -> Option<&'a Candidate> {
    let ready = least_loaded(candidates, Candidate::is_ready);
    let probe = least_loaded(candidates, Candidate::may_probe);
    let healthy = |it: &&&Candidate| it.health == Health::Good;
    match (ready, probe) {
        (Some(_), Some(probe)) if probe.is_idle() => Some(probe),
        (Some(chosen), _) | (None, Some(chosen)) => Some(chosen),
        (None, None) => {
            let away = candidates.iter().find(healthy);
            away.or_else(|| candidates.first()).copied()
        }
    }
}

/// Chooses an agent that is better for a task that waits for `from`, if there is one. A task that
/// is moved is not moved back unless something has changed.
///
/// - From a ready agent without a free slot: to a ready agent with a free slot, or else to an idle
///   agent whose breaker permits probes.
/// - From an agent whose breaker permits probes: to a ready agent with a free slot.
/// - From an agent that is sent no tasks: to either of those, or else to the least loaded ready
///   agent; from an offline agent, also to any whose breaker permits probes.
pub fn better_candidate<'a>(
    from: &Candidate,
    candidates: &[&'a Candidate],
) -> Option<&'a Candidate> {
    let others = candidates.iter().copied().filter(|it| it.id != from.id);
    let others: Vec<_> = others.collect();
    let ready = least_loaded(&others, Candidate::is_ready);
    let room = ready.filter(|to| to.has_room());
    let probe = || least_loaded(&others, Candidate::may_probe);
    let idle = || probe().filter(|to| to.is_idle());
    if from.is_ready() {
        let full = from.held >= from.capacity;
        return if full { room.or_else(idle) } else { None };
    }
    if from.may_probe() {
        return room;
    }
    let one_that_is_there = || if from.connected { None } else { probe() };
    room.or_else(idle).or(ready).or_else(one_that_is_there)
}

fn least_loaded<'a>(
    candidates: &[&'a Candidate],
    among: impl Fn(&Candidate) -> bool,
) -> Option<&'a Candidate> {
    let among = candidates.iter().copied().filter(|it| among(it));
    among.min_by(|a, b| a.by_load(b))
}

#[cfg(test)]
mod tests;
