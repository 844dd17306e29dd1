//! The choice of an agent for a task, and of a better agent for a task that waits.

use std::cmp::Ordering;

use bematic_protocol::{ids::AgentId, messages::Availability, time::Timestamp};

use super::Agent;

/// An agent as a candidate for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub id: AgentId,
    /// Whether the agent is connected and available, and not in doubt.
    pub connected: bool,
    pub health: Health,
    /// The number of occupied slots.
    pub held: usize,
    /// The number of tasks that wait for the agent, as far as they were counted.
    pub waiting: usize,
    pub capacity: usize,
}

/// The tasks that an agent's breaker permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// All tasks.
    Good,
    /// Probes.
    Probing,
    /// No tasks for now.
    Bad,
}

impl Candidate {
    /// Creates a candidate, without the number of waiting tasks, which has to be counted.
    pub(crate) fn without_waiting_count(agent: &Agent, now: Timestamp) -> Self {
        let online = agent.availability == Availability::Online;
        let binding = agent.connection.as_ref();
        Self {
            id: agent.id.clone(),
            connected: online && binding.is_some_and(|bound| !bound.is_in_doubt()),
            health: if agent.gate.is_open(now) {
                Health::Good
            } else if agent.gate.shut_until(now).is_some() {
                Health::Bad
            } else {
                Health::Probing
            },
            held: agent.held.len(),
            waiting: 0,
            capacity: usize::try_from(agent.capacity).unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.connected && self.health == Health::Good
    }

    pub(crate) fn may_probe(&self) -> bool {
        self.connected && self.health == Health::Probing
    }

    pub(crate) fn is_ready_or_probing(&self) -> bool {
        self.is_ready() || self.may_probe()
    }

    /// Returns the number of tasks that the agent has and that wait for it.
    pub(crate) const fn load(&self) -> usize {
        self.held.saturating_add(self.waiting)
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.load() < self.capacity
    }

    const fn is_idle(&self) -> bool {
        self.load() == 0 && self.has_room()
    }

    /// Compares the occupied share of the capacity; an agent without capacity comes last.
    pub(crate) fn compare_load_ratio(&self, other: &Self) -> Ordering {
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
///    again if others always took its tasks.
/// 2. Of the connected agents whose breaker permits probes, the least loaded: it is unknown when an
///    offline agent returns.
/// 3. The first offline agent whose breaker is closed: the task waits for it.
/// 4. The first candidate.
pub(crate) fn choose<'a>(candidates: &[&'a Candidate]) -> Option<&'a Candidate> {
    let ready = least_loaded(candidates, Candidate::is_ready);
    let probe = least_loaded(candidates, Candidate::may_probe);
    let healthy = || candidates.iter().find(|it| it.health == Health::Good);
    probe
        .filter(|probe| ready.is_none() || probe.is_idle())
        .or(ready)
        .or_else(|| healthy().or(candidates.first()).copied())
}

/// Chooses an agent that is better for a task that waits for `from`, if there is one. A task that
/// is moved is not moved back unless something has changed.
///
/// - From a ready agent without a free slot: to a ready agent with a free slot, or else to an idle
///   agent whose breaker permits probes.
/// - From an agent whose breaker permits probes: to a ready agent with a free slot.
/// - From an agent that is sent no tasks: to either of those, or else to the least loaded ready
///   agent; from an offline agent, also to any whose breaker permits probes.
pub(crate) fn choose_better_than<'a>(
    from: &Candidate,
    candidates: &[&'a Candidate],
) -> Option<&'a Candidate> {
    let mut others = candidates.to_vec();
    others.retain(|it| it.id != from.id);
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
    let any_probe = || probe().filter(|_| !from.connected);
    room.or_else(idle).or(ready).or_else(any_probe)
}

fn least_loaded<'a>(
    candidates: &[&'a Candidate],
    among: impl Fn(&Candidate) -> bool,
) -> Option<&'a Candidate> {
    candidates
        .iter()
        .copied()
        .filter(|it| among(it))
        .min_by(|a, b| a.compare_load_ratio(b))
}

#[cfg(test)]
mod tests;
