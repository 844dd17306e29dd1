//! What is counted, and on whose account.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aws::Call;
use crate::dynamo::Touch;
use crate::dynamo::units::Units;
use crate::prices::{Cost, Prices};
use crate::stats::millis;

/// What something was done for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// A task, from its command to its last timer.
    Task,
    /// An agent's being there: its heartbeats.
    Presence,
    /// An agent's coming: its handshake and its first status.
    Connect,
    /// A minute's having passed: the sweeper.
    Sweep,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Task, Self::Presence, Self::Connect, Self::Sweep];

    /// As it is written in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::Presence => "heartbeats",
            Self::Connect => "connecting",
            Self::Sweep => "sweeper",
        }
    }
}

tokio::task_local! {
    /// What the present work is done for; what is done for nothing is set-up, and takes no time.
    pub(super) static CAUSE: Cause;
}

/// What was done for one cause.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Calls by name.
    pub calls: BTreeMap<String, u64>,
    /// What they cost in the tables.
    pub units: Units,
    /// Invocations by function: one with messages for several causes counts in parts.
    pub invocations: BTreeMap<&'static str, f64>,
    /// US dollars.
    pub cost: Cost,
}

/// The busiest partition of a kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hottest {
    /// The most write units of one partition in one second.
    pub write_units: f64,
    /// The most read units of one partition in one second.
    pub read_units: f64,
    /// Partitions that were touched.
    pub partitions: u64,
}

/// A partition in the second in which it was touched last.
#[derive(Debug, Default)]
struct Second {
    second: u64,
    units: Units,
}

/// Counts.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) prices: Prices,
    pub(super) accounts: BTreeMap<Cause, Account>,
    seconds: HashMap<(String, String), Second>,
    hottest: BTreeMap<String, Hottest>,
}

impl Meter {
    pub(super) fn new(prices: Prices) -> Self {
        Self {
            prices,
            accounts: BTreeMap::new(),
            seconds: HashMap::new(),
            hottest: BTreeMap::new(),
        }
    }

    /// Forgets all until now.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.prices.clone());
    }

    fn account(&mut self, cause: Cause) -> &mut Account {
        self.accounts.entry(cause).or_default()
    }

    /// A call, `at` after the beginning.
    pub(super) fn call(&mut self, cause: Cause, call: &Call, at: Duration) {
        let cost = self.prices.call(call);
        let account = self.account(cause);
        *account.calls.entry(call.name()).or_default() += 1;
        account.units += call.units;
        account.cost += cost;
        for touch in &call.touched {
            self.touch(touch, at.as_secs());
        }
    }

    fn touch(&mut self, touch: &Touch, second: u64) {
        let kind = touch.partition.split('#').next().unwrap_or_default();
        let hottest = self
            .hottest
            .entry(format!("{} {kind}", touch.of))
            .or_default();
        let key = (touch.of.clone(), touch.partition.clone());
        let last = self.seconds.entry(key).or_insert_with(|| {
            hottest.partitions += 1;
            Second::default()
        });
        if last.second != second {
            *last = Second {
                second,
                units: Units::default(),
            };
        }
        last.units += touch.units;
        hottest.write_units = hottest.write_units.max(last.units.write);
        hottest.read_units = hottest.read_units.max(last.units.read);
    }

    /// An invocation of so long, whose messages were for these causes.
    pub(super) fn invocation(
        &mut self,
        function: &'static str,
        memory: u64,
        billed: Duration,
        causes: &[Cause],
    ) {
        let cost = self.prices.invocation(memory, millis(billed));
        #[expect(clippy::cast_precision_loss, reason = "ten at most")]
        let part = 1.0 / causes.len().max(1) as f64;
        for cause in causes {
            let account = self.account(*cause);
            *account.invocations.entry(function).or_default() += part;
            account.cost.lambda += cost * part;
        }
    }

    /// A message of an agent.
    pub(super) fn message(&mut self, cause: Cause, bytes: usize) {
        let cost = self.prices.frames(bytes);
        self.account(cause).cost.api_gateway += cost;
    }

    /// A request of Slack's.
    pub(super) fn request(&mut self, cause: Cause) {
        let cost = self.prices.request();
        self.account(cause).cost.api_gateway += cost;
    }

    /// A message of a queue that was received and deleted, together with so many others.
    pub(super) fn received(&mut self, cause: Cause, fifo: bool, together: usize) {
        let cost = self.prices.received(fifo);
        #[expect(clippy::cast_precision_loss, reason = "ten at most")]
        let part = cost / together.max(1) as f64;
        self.account(cause).cost.sqs += part;
    }

    /// The busiest partitions, by the table or index and the kind of key.
    pub(super) fn hottest(&self) -> BTreeMap<String, Hottest> {
        self.hottest.clone()
    }
}
