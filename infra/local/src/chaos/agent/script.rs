//! The script of a run's agents: odds and durations, drawn for each attempt.

use std::ops::Range;
use std::time::Duration;

use bematic_protocol::ids::AgentId;
use bematic_test_agent::{Answer, Message, Offer, Plan, Script};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

/// The duration of a task, in milliseconds.
const WORK: Range<u64> = 300..4000;
/// The duration of a long task: longer than the cloud waits for the acknowledgement.
const LONG_WORK: Range<u64> = 8000..22_000;
/// The probability that a task is a long one.
const LONG: f64 = 0.12;
/// The probability that a task is not acknowledged.
const SILENT: f64 = 0.06;
/// The probability that a task has progress and output.
const REPORTED: f64 = 0.2;
/// The probability that a task ends in an error.
const FAILED: f64 = 0.05;
/// The probability that a task is refused, though there is room.
const REFUSED: f64 = 0.02;
/// The probability that a cancellation is ignored.
const UNCANCELLABLE: f64 = 0.2;

/// Returns the script of one agent.
pub(super) fn script(agent: AgentId, seed: u64) -> Script {
    let mut rng = StdRng::seed_from_u64(seed);
    Box::new(move |offer| plan(&mut rng, &agent, offer))
}

fn plan(rng: &mut StdRng, agent: &AgentId, offer: &Offer) -> Plan {
    let run = offer.run();
    if rng.random_bool(REFUSED) {
        return Plan::refuse("not in the mood");
    }
    let is_long = rng.random_bool(LONG);
    let whole = rng.random_range(if is_long { LONG_WORK } else { WORK });
    let after = Duration::from_millis;
    let mut plan = Plan {
        answer: if rng.random_bool(SILENT) {
            Answer::Silent
        } else {
            Answer::Accept
        },
        cancellable: !rng.random_bool(UNCANCELLABLE),
        ..Plan::accept()
    };
    if rng.random_bool(REPORTED) {
        let step = json!({ "progress": 50, "steps": ["half way"] });
        let output = Message::stream(run, 0, &format!("{run}\n"));
        plan = plan
            .then(after(whole / 3), Message::progress(run, step))
            .then(after(whole / 2), output);
    }
    let end = if rng.random_bool(FAILED) {
        Message::error(run, "it went wrong")
    } else {
        Message::complete(run, &format!("did {run} at {agent}"))
    };
    plan.then(after(whole), end)
}
