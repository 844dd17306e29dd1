//! The meter: how long calls take, and what is counted, by what it was done for.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Result, bail};
use async_trait::async_trait;
use axum::http::{Request, Response};
use bematic_aws::slack::Transport;
use fake_aws::{Failure, FailurePoint, Hook, PartitionAccess, Units};
use local_slack::Slack;
use serde::{Deserialize, Serialize};
use strum::Display;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::common::lock;
use crate::invocation::{Call, Service};
use crate::prices::{Cost, Prices};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Display, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum WorkCause {
    /// A task, from its command to its last timer.
    #[strum(to_string = "tasks")]
    Task,
    #[strum(to_string = "heartbeats")]
    Presence,
    /// The handshakes of agents, and their first status.
    #[strum(to_string = "connecting")]
    Connect,
    #[strum(to_string = "sweeper")]
    Sweep,
}

/// Some work: what it is done for, and how many invocations led to it and to each other by messages,
/// itself included.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) cause: WorkCause,
    pub(super) chain: u32,
}

impl From<WorkCause> for Work {
    /// Work that no message has led to.
    fn from(cause: WorkCause) -> Self {
        Self { cause, chain: 1 }
    }
}

tokio::task_local! {
    /// The present work; what is done outside of any is set-up, and takes no time.
    pub(super) static WORK: Work;
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CauseAccount {
    pub(super) calls: BTreeMap<String, u64>,
    pub(super) units: Units,
    pub(super) refused: u64,
    pub(super) refused_units: Units,
    /// Invocations by function: one with messages for several causes counts in parts.
    pub(super) invocations: BTreeMap<String, f64>,
    pub(super) cost: Cost,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartitionPeak {
    /// The most units of one partition in one second.
    pub(super) write_units: f64,
    pub(super) read_units: f64,
    pub(super) partitions: u64,
}

#[derive(Debug, Default)]
pub(super) struct MeterState {
    pub(super) accounts: BTreeMap<WorkCause, CauseAccount>,
    pub(super) hottest: BTreeMap<String, PartitionPeak>,
    /// The most invocations that led to each other by messages.
    pub(super) longest_chain: u32,
    /// The second in which each partition was touched last, and its units in that second.
    seconds: HashMap<(String, String), (u64, Units)>,
}

impl MeterState {
    fn add_partition_access(&mut self, touch: &PartitionAccess, now: u64) {
        let kind = touch.partition.split('#').next().unwrap_or_default();
        let kind = format!("{} {kind}", touch.resource);
        let hottest = self.hottest.entry(kind).or_default();
        let key = (touch.resource.clone(), touch.partition.clone());
        let (second, units) = self.seconds.entry(key).or_insert_with(|| {
            hottest.partitions += 1;
            (now, Units::default())
        });
        if *second != now {
            (*second, *units) = (now, Units::default());
        }
        *units += touch.units;
        hottest.write_units = hottest.write_units.max(units.write);
        hottest.read_units = hottest.read_units.max(units.read);
    }
}

#[derive(Debug)]
pub(super) struct Meter {
    pub(super) prices: Prices,
    begun: Instant,
    state: Mutex<MeterState>,
    /// The work that each message asks for.
    messages: Mutex<HashMap<String, Work>>,
    failures: Mutex<Vec<String>>,
    pub(super) posted: Notify,
    pub(super) sent: Notify,
}

impl Meter {
    pub(super) fn new(prices: Prices) -> Self {
        Self {
            prices,
            begun: Instant::now(),
            state: Mutex::default(),
            messages: Mutex::default(),
            failures: Mutex::default(),
            posted: Notify::new(),
            sent: Notify::new(),
        }
    }

    pub(super) fn lock_state(&self) -> MutexGuard<'_, MeterState> {
        lock(&self.state)
    }

    pub(super) fn work_of_message(&self, message: &str) -> Work {
        let work = lock(&self.messages).get(message).copied();
        work.unwrap_or_else(|| WorkCause::Sweep.into())
    }

    pub(super) fn record_failure(&self, failure: String) {
        lock(&self.failures).push(failure);
    }

    /// Returns the first failure as an error, if there is one.
    pub(super) fn check_no_failures(&self) -> Result<()> {
        let failure = lock(&self.failures).first().cloned();
        failure.map_or(Ok(()), |failure| bail!(failure))
    }

    pub(super) fn record_call(&self, call: &Call) {
        let Ok(Work { cause, chain }) = WORK.try_with(|work| *work) else {
            return;
        };
        if let Some(fault) = call.unexpected_error() {
            self.record_failure(format!("a function called what it should not: {fault}"));
        }
        let mut state = self.lock_state();
        state.longest_chain = state.longest_chain.max(chain);
        let account = state.accounts.entry(cause).or_default();
        *account.calls.entry(call.name()).or_default() += 1;
        account.units += call.units;
        account.cost += self.prices.call_cost(call);
        if call.is_refused_write() {
            account.refused += 1;
            account.refused_units += call.units;
        }
        for touch in &call.partition_accesses {
            state.add_partition_access(touch, self.begun.elapsed().as_secs());
        }
        drop(state);
        match call.service {
            Service::ApiGateway => self.posted.notify_one(),
            Service::Sqs => {
                let chain = chain + 1;
                let sent = call.message_ids.iter();
                let sent = sent.map(|id| (id.clone(), Work { cause, chain }));
                lock(&self.messages).extend(sent);
                self.sent.notify_waiters();
            }
            Service::DynamoDb | Service::SecretsManager | Service::Sts | Service::Slack => {}
        }
    }

    /// Adds equal parts of something to the accounts of causes.
    pub(super) fn split_among_causes(&self, work: &[Work], add: impl Fn(&mut CauseAccount, f64)) {
        let mut state = self.lock_state();
        for it in work {
            let account = state.accounts.entry(it.cause).or_default();
            add(account, 1.0 / work.len() as f64);
        }
    }
}

/// Has calls to AWS take their time, and counts them.
pub(super) struct AwsCallMeter(pub(super) Arc<Meter>);

#[async_trait]
impl Hook for AwsCallMeter {
    async fn before_call(&self, call: &fake_aws::Call) -> Option<(FailurePoint, Failure)> {
        if WORK.try_with(|_| ()).is_ok() {
            sleep(self.0.prices.assumed_latency(call.service.into())).await;
        }
        None
    }

    async fn after_call(&self, call: &fake_aws::Call) {
        self.0
            .record_call(&Call::from_fake_aws(call, Instant::now()));
    }
}

/// The local Slack, which the production client calls in process. A call takes its time, and is counted.
#[derive(Debug)]
pub(super) struct InProcessSlackTransport(pub(super) Arc<Meter>, pub(super) Arc<Slack>);

#[async_trait]
impl Transport for InProcessSlackTransport {
    async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let (Self(meter, slack), began) = (self, Instant::now());
        let path = request.uri().path();
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        sleep(meter.prices.assumed_latency(Service::Slack)).await;
        let answer = local_slack::handle(slack, request).await?;
        meter.record_call(&Call::new(Service::Slack, &method, began));
        Ok(answer)
    }
}
