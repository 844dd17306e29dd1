//! Which of several agents gets a task, and whether one that waits would be better off elsewhere.
//! Pure: what is asked for is read by [`crate::handlers::routing`].

use std::cmp::Ordering;

use bematic_protocol::{ids::AgentId, messages::Availability, time::Timestamp};

use super::Agent;

/// An agent as one that could get a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: AgentId,
    /// Whether it is there, takes work, and is not in doubt.
    pub connected: bool,
    /// What its breaker says.
    pub health: Health,
    /// Tasks that take its slots.
    pub held: usize,
    /// Tasks that wait for it, as far as they were counted.
    pub waiting: usize,
    /// Tasks that it takes at once.
    pub capacity: usize,
}

/// What an agent's breaker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All work may go to it.
    Good,
    /// Some may, to see whether it is well again.
    Probing,
    /// None may, for now.
    Bad,
}

impl Candidate {
    /// What its record says; how many wait for it is in their queue.
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

    /// Healthy and connected.
    pub fn is_ready(&self) -> bool {
        self.connected && self.health == Health::Good
    }

    /// Connected, and may be tried.
    pub fn may_probe(&self) -> bool {
        self.connected && self.health == Health::Probing
    }

    /// Whether it could get work now.
    pub fn is_usable(&self) -> bool {
        self.is_ready() || self.may_probe()
    }

    /// What it has, and what waits for it.
    pub const fn load(&self) -> usize {
        self.held.saturating_add(self.waiting)
    }

    /// Whether one more would be begun at once.
    pub const fn has_room(&self) -> bool {
        self.load() < self.capacity
    }

    /// Whether it has nothing to do, and could.
    const fn is_idle(&self) -> bool {
        self.load() == 0 && self.has_room()
    }

    /// The part of its capacity that is taken; no capacity at all comes last.
    pub fn by_load(&self, other: &Self) -> Ordering {
        let part = |load: usize, of: usize| load as u128 * of as u128;
        let none = (self.capacity == 0).cmp(&(other.capacity == 0));
        none.then_with(|| part(self.load(), other.capacity).cmp(&part(other.load(), self.capacity)))
    }
}

/// The one that gets a new task, of those that may have it in order of preference: of equals, the
/// first.
///
/// 1. Of those that are healthy and connected, the least loaded. But one that may be tried and has
///    nothing to do comes first, with this one task: it would never be found to be well again if
///    others always took its work, and if it is not, nothing more goes to it for a recovery timeout.
/// 2. Of those that are connected and may be tried, the least loaded. Before one that is away: its
///    breaker closes again by what it is given, and nobody knows when the other comes back.
/// 3. The first that is healthy and away: the task waits for it.
/// 4. The first.
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

/// The one that a task which waits for `from` is better off with, if there is one: what is moved
/// is not moved back unless something has changed.
///
/// - Behind a healthy one without a free slot: a healthy one with a free slot, or else one that may be
///   tried and has nothing to do.
/// - Behind one that is being tried: a healthy one with a free slot.
/// - Behind one that gets no work: those, or else the least loaded healthy one; for one that is away,
///   also one that may be tried.
pub fn better<'a>(from: &Candidate, candidates: &[&'a Candidate]) -> Option<&'a Candidate> {
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
