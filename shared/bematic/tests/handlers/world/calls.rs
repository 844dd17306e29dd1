//! The calls that the functions make: to AWS and to Slack, in one order.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use fake_aws::{Call, Failure, Hook, Interleaving, Proceed, When};

/// The calls by name, such as `GetItem TasksTable`; any of them can be made to fail.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Ledger>);

#[derive(Default)]
struct Ledger {
    made: Vec<String>,
    /// How many calls go well before one fails, and when it does.
    failure: Option<(usize, When)>,
    interleaving: Option<Arc<Interleaving>>,
}

impl Calls {
    /// The calls since the last time, in the order in which they took effect.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.ledger().made)
    }

    /// Fails the `n`-th call from now, counted from 0, once: it has no effect.
    pub(crate) fn fail_at(&self, n: usize) {
        self.fail(n, When::Before);
    }

    /// Fails the `n`-th call from now, counted from 0, once: before it takes effect, or after, so that
    /// only the answer is lost.
    pub(crate) fn fail(&self, n: usize, when: When) {
        self.ledger().failure = Some((n, when));
    }

    /// Whether the failure is still to come; it is taken back.
    pub(crate) fn unused_failure(&self) -> bool {
        self.ledger().failure.take().is_some()
    }

    /// Has concurrent executions take turns from now on, as the seed says.
    pub(crate) fn interleave(&self, seed: u64) {
        self.ledger().interleaving = Some(Arc::new(Interleaving::new(seed)));
    }

    /// Notes a call; whether, and when, it fails.
    pub(crate) fn note(&self, name: String) -> Option<When> {
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

/// Calls to AWS.
pub(super) struct ToAws(pub(super) Arc<Calls>);

#[async_trait]
impl Hook for ToAws {
    async fn before(&self, call: &Call) -> Proceed {
        let interleaving = self.0.ledger().interleaving.clone();
        if let Some(interleaving) = interleaving {
            interleaving.before(call).await;
        }
        match self.0.note(call.to_string()) {
            None => Proceed::Go,
            Some(When::Before) => Proceed::Fail(When::Before, Failure::Internal),
            Some(When::After) => Proceed::Fail(When::After, Failure::Connection),
        }
    }
}
