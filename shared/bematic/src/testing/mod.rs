//! The outside world in memory, for the tests of the handlers: every call is counted, and any can
//! be made to fail.

mod agents;
mod fixed;
mod functions;
mod outbox;
mod store;
mod world;

use std::sync::Mutex;

pub(crate) use self::{
    agents::{event, wire},
    functions::settings,
    outbox::{Outbox, Post},
    store::Memory,
    world::{AGENT, World, agent_id, connection, new_task},
};
use crate::{
    error::{GatewayError, QueueError, StoreError},
    slack::api::SlackError,
};

/// Counts calls by name, and fails the one that it was told to.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Ledger>);

#[derive(Debug, Default)]
struct Ledger {
    made: Vec<&'static str>,
    fail_at: Option<usize>,
    /// Where the random pauses are, if there are any.
    pauses: Option<u64>,
}

impl Calls {
    /// Notes a call, after letting others go before it if that was asked for.
    async fn call<E: Broken>(&self, name: &'static str) -> Result<(), E> {
        for _ in 0..self.pauses() {
            tokio::task::yield_now().await;
        }
        let mut ledger = self.0.lock().unwrap();
        ledger.made.push(name);
        match ledger.fail_at {
            Some(0) => {
                ledger.fail_at = None;
                Err(E::broken())
            }
            Some(more) => {
                ledger.fail_at = Some(more - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Has concurrent executions take turns at random from now on.
    pub(crate) fn interleave(&self, seed: u64) {
        self.0.lock().unwrap().pauses = Some(seed | 1);
    }

    fn pauses(&self) -> u64 {
        let mut ledger = self.0.lock().unwrap();
        let Some(state) = &mut ledger.pauses else {
            return 0;
        };
        // xorshift: all that is needed is that the seed says everything.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % 4
    }

    /// What was called since the last time, in order.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().made)
    }

    /// Fails the `n`-th call from now, counted from 0, once.
    pub(crate) fn fail_at(&self, n: usize) {
        self.0.lock().unwrap().fail_at = Some(n);
    }

    /// Whether the failure is still to come; it is taken back.
    pub(crate) fn unused_failure(&self) -> bool {
        self.0.lock().unwrap().fail_at.take().is_some()
    }
}

/// An error that is made on purpose.
trait Broken {
    fn broken() -> Self;
}

const ON_PURPOSE: &str = "made to fail";

impl Broken for StoreError {
    fn broken() -> Self {
        Self::Call {
            operation: "test",
            source: ON_PURPOSE.into(),
        }
    }
}

impl Broken for QueueError {
    fn broken() -> Self {
        Self {
            operation: "test",
            source: ON_PURPOSE.into(),
        }
    }
}

impl Broken for GatewayError {
    fn broken() -> Self {
        Self::Call {
            operation: "test",
            source: ON_PURPOSE.into(),
        }
    }
}

impl Broken for SlackError {
    fn broken() -> Self {
        Self::Unavailable {
            method: "test",
            source: ON_PURPOSE.into(),
        }
    }
}
