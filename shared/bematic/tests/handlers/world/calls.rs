//! The calls that the functions make: to AWS and to Slack, in one order.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use fake_aws::{Call, Failure, FailurePoint, Hook, RandomYields};

/// The calls by name, such as `GetItem TasksTable`, and the one that is to fail.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Ledger>);

#[derive(Default)]
struct Ledger {
    made: Vec<String>,
    /// The number of calls that succeed before one fails, and whether that one takes effect.
    failure: Option<(usize, FailurePoint)>,
    interleaving: Option<Arc<RandomYields>>,
}

impl Calls {
    /// Takes the calls, in the order in which they took effect.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.ledger().made)
    }

    /// Fails the `n`-th call from now, counted from 0, once: it has no effect.
    pub(crate) fn fail_at(&self, n: usize) {
        self.fail(n, FailurePoint::Before);
    }

    /// Fails the `n`-th call from now, counted from 0, once: before it takes effect, or after, so that
    /// only the answer is lost.
    pub(crate) fn fail(&self, n: usize, when: FailurePoint) {
        self.ledger().failure = Some((n, when));
    }

    /// Withdraws the failure, and returns whether it was still to come.
    pub(crate) fn unused_failure(&self) -> bool {
        self.ledger().failure.take().is_some()
    }

    /// Interleaves concurrent executions in an order that depends on the seed.
    pub(crate) fn interleave(&self, seed: u64) {
        self.ledger().interleaving = Some(Arc::new(RandomYields::new(seed)));
    }

    /// Records a call, and returns whether it fails before or after its effect.
    pub(crate) fn note(&self, name: String) -> Option<FailurePoint> {
        let mut ledger = self.ledger();
        ledger.made.push(name);
        let (before, when) = ledger.failure.take()?;
        if before == 0 {
            return Some(when);
        }
        ledger.failure = Some((before - 1, when));
        None
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

/// The hook that records calls to AWS.
pub(super) struct ToAws(pub(super) Arc<Calls>);

#[async_trait]
impl Hook for ToAws {
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        let interleaving = self.0.ledger().interleaving.clone();
        if let Some(interleaving) = interleaving {
            interleaving.before_call(call).await;
        }
        let when = self.0.note(call.to_string())?;
        Some(match when {
            FailurePoint::Before => (when, Failure::Internal),
            FailurePoint::After => (when, Failure::Connection),
        })
    }
}
