//! What should have come to rest, and has not.

use bematic::task::Slot;

use super::evidence::{Charge, Evidence, Offence};
use super::history::Histories;

/// Tasks that are not over.
pub(super) fn tasks(evidence: &Evidence<'_>) -> Vec<Offence> {
    let tasks = evidence.snapshot.tasks.iter();
    tasks
        .filter(|(_, stored)| !stored.task.state.is_terminal())
        .map(|(id, stored)| {
            let state = &stored.task.state;
            let why = format!("it is {} and nothing more happens", state.name());
            Offence::new(Charge::Stuck, id, why)
        })
        .collect()
}

/// Reports that are sent over and over.
pub(super) fn reports(histories: &Histories) -> Vec<Offence> {
    histories
        .all()
        .filter(|(_, history)| history.report.is_some() && history.confirmed_at.is_none())
        .map(|(run, _)| {
            let why = "its agent reports how it ended over and over, and is not confirmed";
            Offence::new(Charge::Stuck, &run, why)
        })
        .collect()
}

/// Slots that are taken by what is not at the agent.
pub(super) fn slots(evidence: &Evidence<'_>) -> Vec<Offence> {
    let held = evidence.snapshot.agents.iter().flat_map(|agent| {
        agent
            .held
            .iter()
            .map(move |slot| (&agent.id, slot.as_str()))
    });
    held.filter(|(_, slot)| !is_at_an_agent(evidence, slot))
        .map(|(agent, slot)| {
            let why = format!("a slot is still taken by {slot}, which is not at the agent");
            Offence::new(Charge::SlotLeaked, agent, why)
        })
        .collect()
}

/// Whether the attempt is the one that holds its task.
pub(super) fn is_at_an_agent(evidence: &Evidence<'_>, slot: &str) -> bool {
    let Ok(slot) = slot.parse::<Slot>() else {
        return false;
    };
    let stored = evidence.snapshot.tasks.get(&slot.task_id);
    stored.is_some_and(|stored| stored.task.state.held() == Some(slot.attempt))
}

/// Tasks with more than one message.
pub(super) fn cards(evidence: &Evidence<'_>) -> Vec<Offence> {
    let cards = evidence.snapshot.cards.iter();
    cards
        .filter(|(_, cards)| cards.len() > 1)
        .map(|(id, cards)| {
            let why = format!("it has {} messages in Slack", cards.len());
            Offence::new(Charge::CardDoubled, id, why)
        })
        .collect()
}
