//! What disturbs a run from outside: the way between the agents and the cloud, and the functions'
//! calls. All of it is the [edge](crate::edge)'s doing; here are the numbers.

use anyhow::Result;
use serde::Serialize;

use crate::edge::{Edge, Probability};
use crate::stack::Stack;

/// What happens to a connection's messages, as the edge wants it said.
const ROUGH: &str = "reorder:0.2,double:0.1,delay:0.2,drop:0.02,cut:0.005";
/// A call of so many fails: one half before it has taken effect, the other half after it.
const FAILING: f64 = 0.02;

/// The conditions of a run.
pub(super) struct NetworkConditions<'a> {
    url: &'a str,
    edge: &'a Edge,
    /// Stays fair, whatever it is told.
    calm: bool,
}

/// Calls that the functions made to AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Calls {
    /// How many.
    pub(super) made: u64,
    /// How many of them were made to fail.
    pub(super) failed: u64,
}

impl<'a> NetworkConditions<'a> {
    /// Over a stack: fair, until it is told otherwise.
    pub(super) fn over(stack: &'a Stack, calm: bool) -> Self {
        Self {
            calm,
            url: &stack.file.websocket_url,
            edge: &stack.edge,
        }
    }

    /// Where an agent connects whose messages are lost, doubled, delayed and reordered.
    pub(super) fn rough_door(&self, seed: u64) -> String {
        if self.calm {
            return self.fair_door();
        }
        format!("{}?disturb=seed:{seed},{ROUGH}", self.url)
    }

    /// Where an agent connects undisturbed.
    pub(super) fn fair_door(&self) -> String {
        self.url.to_owned()
    }

    /// Has calls fail at random.
    pub(super) fn storm(&self, seed: u64) -> Result<()> {
        if !self.calm {
            self.edge.disturb_calls(seed, Probability::new(FAILING)?);
        }
        Ok(())
    }

    /// Has no more calls fail.
    pub(super) fn calm(&self) {
        self.edge.calm();
    }

    /// What became of the calls.
    pub(super) fn calls(&self) -> Calls {
        let counts = self.edge.call_counts();
        Calls {
            made: counts.came,
            failed: counts.failed_before + counts.failed_after,
        }
    }
}
