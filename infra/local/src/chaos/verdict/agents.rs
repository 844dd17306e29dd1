//! The checks of every agent: its slots are taken by its attempts alone, and its breaker is right.

use bematic::agent::Agent;
use bematic::breaker::{Breaker, State};

use super::evidence::{Charge, Evidence, Offences};

pub(super) fn check(evidence: &Evidence<'_>, offences: &mut Offences) {
    for agent in &evidence.snapshot.agents {
        for slot in agent.held.iter().filter(|slot| !evidence.is_held(slot)) {
            let why = format!("a slot is still taken by {slot}, which is not at the agent");
            offences.add(Charge::SlotLeaked, &agent.id, why);
        }
        if let Some(breaker) = evidence.snapshot.breakers.get(&agent.id) {
            check_breaker(evidence, agent, breaker, offences);
        }
    }
}

fn check_breaker(
    evidence: &Evidence<'_>,
    agent: &Agent,
    breaker: &Breaker,
    offences: &mut Offences,
) {
    let mut wrong = |why| offences.add(Charge::BreakerWrong, &agent.id, why);
    // With enough leaked permits, no probe would ever be sent again.
    if let State::HalfOpen { permits, .. } = &breaker.state {
        for permit in permits.iter().filter(|it| !evidence.is_held(&it.id)) {
            wrong(format!(
                "its breaker waits for the probe {}, which is not at the agent",
                permit.id
            ));
        }
    }
    let tasks = evidence.snapshot.tasks.values();
    let attempts = tasks.filter_map(|stored| stored.task.last_attempt_of(&agent.id));
    let attempts: u32 = attempts.map(bematic_protocol::ids::Attempt::number).sum();
    let outcomes = breaker.window.all().count();
    if u32::try_from(outcomes).unwrap_or(u32::MAX) > attempts {
        wrong(format!(
            "its breaker counted {outcomes} outcomes of at most {attempts} attempts"
        ));
    }
    let (record, gate) = (agent.gate, breaker.gate());
    if record != gate {
        wrong(format!(
            "its record says {record:?}, and its breaker {gate:?}"
        ));
    }
}
