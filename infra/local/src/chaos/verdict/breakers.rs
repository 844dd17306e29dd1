//! What the agents' circuit breakers hold on to, though it is over.

use bematic::agent::Agent;
use bematic::breaker::{Breaker, State};

use super::evidence::{Charge, Evidence, Offence};
use super::rest::is_at_an_agent;

/// Breakers that are not what they should be once all is at rest.
pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Offence> {
    let agents = evidence.snapshot.agents.iter();
    let known = agents.filter_map(|agent| {
        let breaker = evidence.snapshot.breakers.get(&agent.id)?;
        Some((agent, breaker))
    });
    known
        .flat_map(|(agent, breaker)| {
            let whys = [
                permits(evidence, breaker),
                doubles(evidence, agent, breaker),
                gate(agent, breaker),
            ];
            whys.into_iter()
                .flatten()
                .map(|why| Offence::new(Charge::BreakerWrong, &agent.id, why))
        })
        .collect()
}

/// How often breakers have opened.
pub(super) fn opened(evidence: &Evidence<'_>) -> u64 {
    let breakers = evidence.snapshot.breakers.values();
    breakers.map(|breaker| breaker.incidents).sum()
}

/// Permits of attempts that are over: with enough of them, no probe would ever be sent again.
fn permits(evidence: &Evidence<'_>, breaker: &Breaker) -> Vec<String> {
    let State::HalfOpen { permits, .. } = &breaker.state else {
        return Vec::new();
    };
    let leaked = permits
        .iter()
        .filter(|permit| !is_at_an_agent(evidence, &permit.id));
    leaked
        .map(|permit| {
            format!(
                "its breaker waits for the probe {}, which is not at the agent",
                permit.id
            )
        })
        .collect()
}

/// More outcomes than the agent has made attempts: some were counted twice.
fn doubles(evidence: &Evidence<'_>, agent: &Agent, breaker: &Breaker) -> Vec<String> {
    let tasks = evidence.snapshot.tasks.values();
    let attempts = tasks.filter_map(|stored| stored.task.last_attempt_of(&agent.id));
    let attempts: u32 = attempts.map(u32::from).sum();
    let outcomes = breaker.window.all().count();
    let why = format!("its breaker counted {outcomes} outcomes of at most {attempts} attempts");
    (u32::try_from(outcomes).unwrap_or(u32::MAX) > attempts)
        .then_some(why)
        .into_iter()
        .collect()
}

/// The agent's record says something else than its breaker.
fn gate(agent: &Agent, breaker: &Breaker) -> Vec<String> {
    let (record, gate) = (agent.gate, breaker.gate());
    let differ = record != gate;
    let why = format!("its record says {record:?}, and its breaker {gate:?}");
    differ.then_some(why).into_iter().collect()
}
