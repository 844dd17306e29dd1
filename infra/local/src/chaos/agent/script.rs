//! The script of a run's agents: odds and durations, drawn for each attempt.

use std::ops::Range;
use std::time::Duration;

use bematic_protocol::ids::AgentId;
use bematic_test_agent::{Answer, Message, Offer, Plan, Script};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

/// The odds of what an agent does.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct Odds {
    /// The duration of a task, in milliseconds.
    work: Range<u64>,
    /// The duration of a long task: longer than the cloud waits for the acknowledgement.
    long_work: Range<u64>,
    /// A task is a long one.
    long: f64,
    /// A task is not acknowledged.
    silent: f64,
    /// A task has progress and output.
    reported: f64,
    /// A task ends in an error.
    failed: f64,
    /// A task is refused, though there is room.
    refused: f64,
    /// A cancellation is ignored.
    uncancellable: f64,
}

impl Default for Odds {
    fn default() -> Self {
        Self {
            work: 300..4000,
            long_work: 8000..22_000,
            long: 0.12,
            silent: 0.06,
            reported: 0.2,
            failed: 0.05,
            refused: 0.02,
            uncancellable: 0.2,
        }
    }
}

impl Odds {
    /// Returns the script of one agent.
    pub(super) fn script(self, agent: AgentId, seed: u64) -> Script {
        let mut rng = StdRng::seed_from_u64(seed);
        Box::new(move |offer| self.plan(&mut rng, &agent, offer))
    }

    fn plan(&self, rng: &mut StdRng, agent: &AgentId, offer: &Offer) -> Plan {
        let run = offer.run();
        if rng.random_bool(self.refused) {
            return Plan::refuse("not in the mood");
        }
        let millis = if rng.random_bool(self.long) {
            &self.long_work
        } else {
            &self.work
        };
        let whole = rng.random_range(millis.clone());
        let mut plan = Plan {
            answer: if rng.random_bool(self.silent) {
                Answer::Silent
            } else {
                Answer::Accept
            },
            cancellable: !rng.random_bool(self.uncancellable),
            ..Plan::accept()
        };
        if rng.random_bool(self.reported) {
            let step = json!({ "progress": 50, "steps": ["half way"] });
            let output = Message::stream(run, 0, &format!("{run}\n"));
            plan = plan
                .then(
                    Duration::from_millis(whole / 3),
                    Message::progress(run, step),
                )
                .then(Duration::from_millis(whole / 2), output);
        }
        let end = if rng.random_bool(self.failed) {
            Message::error(run, "it went wrong")
        } else {
            Message::complete(run, &format!("did {run} at {agent}"))
        };
        plan.then(Duration::from_millis(whole), end)
    }
}
