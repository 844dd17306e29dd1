//! How long calls take, what is counted, and on whose account.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use async_trait::async_trait;
use fake_aws::{Failure, Hook, PartitionAccess, Units, When};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::common::lock;
use crate::log::{Call, Service};
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
    /// Of the calls, those of which a condition did not hold.
    pub refused: u64,
    /// What these cost in the tables.
    pub refused_units: Units,
    /// Invocations by function: one with messages for several causes counts in parts.
    pub invocations: BTreeMap<String, f64>,
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

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accounts: BTreeMap<Cause, Account>,
    seconds: HashMap<(String, String), Second>,
    hottest: BTreeMap<String, Hottest>,
}

impl Counts {
    fn account(&mut self, cause: Cause) -> &mut Account {
        self.accounts.entry(cause).or_default()
    }

    fn touch(&mut self, touch: &PartitionAccess, second: u64) {
        let kind = touch.partition.split('#').next().unwrap_or_default();
        let kind = format!("{} {kind}", touch.resource);
        let hottest = self.hottest.entry(kind).or_default();
        let key = (touch.resource.clone(), touch.partition.clone());
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
}

/// Lets calls take their time, and counts them.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) prices: Prices,
    begun: Instant,
    counts: Mutex<Counts>,
    /// What the messages of queues were sent for.
    sent_for: Mutex<HashMap<String, Cause>>,
    /// The calls that no function should make.
    faults: Mutex<Vec<String>>,
    /// Notified when something was posted to a connection.
    pub(super) posted: Notify,
}

impl Meter {
    pub(super) fn new(prices: Prices) -> Self {
        Self {
            prices,
            begun: Instant::now(),
            counts: Mutex::default(),
            sent_for: Mutex::default(),
            faults: Mutex::default(),
            posted: Notify::new(),
        }
    }

    /// Forgets all until now, and returns it.
    pub(super) fn take(&self) -> Counts {
        std::mem::take(&mut lock(&self.counts))
    }

    /// What was counted for a cause.
    pub(super) fn account(&self, cause: Cause) -> Account {
        let counts = lock(&self.counts);
        counts.accounts.get(&cause).cloned().unwrap_or_default()
    }

    /// What was counted for each cause.
    pub(super) fn accounts(&self) -> BTreeMap<Cause, Account> {
        lock(&self.counts).accounts.clone()
    }

    /// The busiest partitions, by the table or index and the kind of key.
    pub(super) fn hottest(&self) -> BTreeMap<String, Hottest> {
        lock(&self.counts).hottest.clone()
    }

    /// What a message of a queue was sent for.
    pub(super) fn sent_for(&self, message: &str) -> Cause {
        let cause = lock(&self.sent_for).get(message).copied();
        cause.unwrap_or(Cause::Sweep)
    }

    /// # Errors
    /// If a function called what it should not.
    pub(super) fn check(&self) -> Result<()> {
        match lock(&self.faults).first() {
            None => Ok(()),
            Some(fault) => bail!("a function called what it should not: {fault}"),
        }
    }

    /// A call that has just been answered; what is done for nothing is not counted.
    pub(super) fn note(&self, call: &Call) {
        let Ok(cause) = CAUSE.try_with(|cause| *cause) else {
            return;
        };
        lock(&self.faults).extend(call.fault());
        let cost = self.prices.call(call);
        let mut counts = lock(&self.counts);
        let account = counts.account(cause);
        *account.calls.entry(call.name()).or_default() += 1;
        account.units += call.units;
        account.cost += cost;
        if call.is_refused() {
            account.refused += 1;
            account.refused_units += call.units;
        }
        let second = self.begun.elapsed().as_secs();
        for touch in &call.touched {
            counts.touch(touch, second);
        }
    }

    /// An invocation of so long, whose messages were for these causes.
    pub(super) fn invocation(
        &self,
        function: &str,
        memory: u64,
        billed: Duration,
        causes: &[Cause],
    ) {
        let cost = self.prices.invocation(memory, millis(billed));
        #[expect(clippy::cast_precision_loss, reason = "ten at most")]
        let part = 1.0 / causes.len().max(1) as f64;
        let mut counts = lock(&self.counts);
        for cause in causes {
            let account = counts.account(*cause);
            let invocations = account.invocations.entry(function.to_owned());
            *invocations.or_default() += part;
            account.cost.lambda += cost * part;
        }
    }

    /// A message of an agent.
    pub(super) fn message(&self, cause: Cause, bytes: usize) {
        let cost = self.prices.frames(bytes);
        lock(&self.counts).account(cause).cost.api_gateway += cost;
    }

    /// A request of Slack's.
    pub(super) fn request(&self, cause: Cause) {
        let cost = self.prices.request();
        lock(&self.counts).account(cause).cost.api_gateway += cost;
    }

    /// A message of a queue that was received and deleted, together with so many others.
    pub(super) fn received(&self, cause: Cause, fifo: bool, together: usize) {
        let cost = self.prices.received(fifo);
        #[expect(clippy::cast_precision_loss, reason = "ten at most")]
        let part = cost / together.max(1) as f64;
        lock(&self.counts).account(cause).cost.sqs += part;
    }
}

/// The calls to AWS, to a meter.
pub(super) struct ToAws(pub(super) Arc<Meter>);

#[async_trait]
impl Hook for ToAws {
    async fn before(&self, call: &fake_aws::Call) -> Option<(When, Failure)> {
        if CAUSE.try_with(|_| ()).is_ok() {
            sleep(self.0.prices.latency(call.service.into())).await;
        }
        None
    }

    async fn after(&self, call: &fake_aws::Call) {
        let call_of_ours = Call::to_aws(call, Instant::now());
        self.0.note(&call_of_ours);
        match call_of_ours.service {
            Service::ApiGateway => self.0.posted.notify_one(),
            Service::Sqs => {
                if let Ok(cause) = CAUSE.try_with(|cause| *cause) {
                    let sent = call.message_ids.iter().map(|id| (id.clone(), cause));
                    lock(&self.0.sent_for).extend(sent);
                }
            }
            Service::DynamoDb | Service::Slack => {}
        }
    }
}
