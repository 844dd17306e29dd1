//! The functions' calls to AWS: counted, and failing at random while that is switched on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::Method;
use axum::http::request::Parts;

use super::dice::{CallDice, Failure};
use super::disturb::Probability;

/// How many calls of functions came, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// Calls that came.
    pub came: u64,
    /// Calls that reached the emulator: with those whose answer was withheld.
    pub relayed: u64,
    /// Calls that failed before they reached it: nothing happened.
    pub failed_before: u64,
    /// Calls that failed after it: what they asked for has happened.
    pub failed_after: u64,
}

/// What a request is to the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A message for an agent.
    Post,
    /// Anything else that a function asks of AWS.
    Aws,
    /// No call of a function, or one whose failure would only hide what happened, as of its log.
    Other,
}

/// The services that the functions work with, as their requests' `X-Amz-Target` begins.
const TARGETS: [&str; 2] = ["DynamoDB_", "AmazonSQS."];
/// The management of connections, below an API's stage.
const CONNECTIONS: [&str; 2] = ["/@connections/", "/%40connections/"];

impl Call {
    pub(super) fn of(request: &Parts) -> Self {
        let path = request.uri.path();
        if CONNECTIONS.iter().any(|part| path.contains(part)) {
            return if request.method == Method::POST {
                Self::Post
            } else {
                Self::Aws
            };
        }
        let target = request.headers.get("x-amz-target");
        let target = target.and_then(|target| target.to_str().ok());
        if target.is_some_and(|target| TARGETS.iter().any(|service| target.starts_with(service))) {
            Self::Aws
        } else {
            Self::Other
        }
    }
}

#[derive(Debug, Default)]
struct State {
    dice: Option<CallDice>,
    counts: CallCounts,
}

/// The calls so far, and what happens to the next.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<State>);

impl Calls {
    pub(super) fn disturb(&self, seed: u64, failure: Probability) {
        self.state().dice = Some(CallDice::new(seed, failure));
    }

    pub(super) fn calm(&self) {
        self.state().dice = None;
    }

    pub(super) fn counts(&self) -> CallCounts {
        self.state().counts
    }

    /// Whether a call that came fails, and when.
    pub(super) fn next(&self) -> Option<Failure> {
        let mut state = self.state();
        let failure = state.dice.as_mut().and_then(CallDice::next);
        let counts = &mut state.counts;
        counts.came += 1;
        match failure {
            None => counts.relayed += 1,
            Some(Failure::Before) => counts.failed_before += 1,
            Some(Failure::After) => {
                counts.relayed += 1;
                counts.failed_after += 1;
            }
        }
        failure
    }

    /// Taken also from a holder that panicked: nothing is left half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn call(method: &str, path: &str, target: Option<&str>) -> Call {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(target) = target {
            request = request.header("X-Amz-Target", target);
        }
        Call::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_what_functions_work_with_is_a_call() {
        let connection = "/_aws/execute-api/a1/prod/@connections/c1";
        assert_eq!(call("POST", connection, None), Call::Post);
        assert_eq!(call("DELETE", connection, None), Call::Aws);
        for target in ["DynamoDB_20120810.GetItem", "AmazonSQS.SendMessage"] {
            assert_eq!(call("POST", "/", Some(target)), Call::Aws, "{target}");
        }
        for (path, target) in [
            ("/", Some("Logs_20140328.PutLogEvents")),
            ("/2018-06-01/runtime/invocation/next", None),
            ("/_aws/execute-api/b2/$default/slack/commands", None),
        ] {
            assert_eq!(call("POST", path, target), Call::Other, "{path} {target:?}");
        }
    }
}
