//! Lambda: a function has as many environments as it ever had invocations at a time, each with a
//! handler, and so with memories, of its own. An invocation goes to the environment that was free
//! last, if there is one: how AWS chooses is not known.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::cloud::Cloud;
use super::meter::Cause;
use crate::aws::lock;

/// What an invocation takes beside its calls: the bench measures less than that of a processor.
const OWN: Duration = Duration::from_millis(1);
/// What the first invocation of an environment waits for: the bench measures some 10 ms from exec
/// to the first poll; the rest is an assumption of what AWS needs to place and start it.
const START: Duration = Duration::from_millis(200);

/// How a function was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Invocations.
    pub invocations: u64,
    /// Environments there were at the end.
    pub environments: usize,
    /// Of the invocations, those that waited for their environment to start.
    pub starts: u64,
    /// The most invocations at a time.
    pub most: u64,
    /// Seconds of all invocations: by the seconds of the run, how many there are at a time.
    pub busy_seconds: f64,
    #[serde(skip)]
    now: u64,
}

/// A function.
pub(super) struct Function<H> {
    pub(super) name: &'static str,
    memory: u64,
    make: Box<dyn Fn() -> H + Send + Sync>,
    idle: Mutex<Vec<Arc<H>>>,
    usage: Mutex<Usage>,
}

impl<H> Function<H> {
    pub(super) fn new(
        name: &'static str,
        memory: u64,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            memory,
            make: Box::new(make),
            idle: Mutex::default(),
            usage: Mutex::default(),
        }
    }

    /// How it was used since this was asked for last.
    pub(super) fn take_usage(&self) -> Usage {
        let mut usage = lock(&self.usage);
        let kept = Usage {
            now: usage.now,
            most: usage.now,
            environments: usage.environments,
            ..Usage::default()
        };
        std::mem::replace(&mut usage, kept)
    }

    /// One invocation, of which each message was for one of the causes.
    pub(super) async fn invoke<T, F: Future<Output = T>>(
        &self,
        cloud: &Cloud,
        causes: &[Cause],
        work: impl FnOnce(Arc<H>) -> F,
    ) -> T {
        let handler = self.begin().await;
        let begun = Instant::now();
        sleep(OWN).await;
        let answer = work(handler.clone()).await;
        let billed = begun.elapsed();
        lock(&self.idle).push(handler);
        let mut usage = lock(&self.usage);
        usage.now -= 1;
        usage.busy_seconds += billed.as_secs_f64();
        drop(usage);
        let mut meter = cloud.meter();
        meter.invocation(self.name, self.memory, billed, causes);
        answer
    }

    async fn begin(&self) -> Arc<H> {
        let idle = lock(&self.idle).pop();
        lock(&self.usage).begin(idle.is_none());
        if let Some(handler) = idle {
            return handler;
        }
        sleep(START).await;
        Arc::new((self.make)())
    }
}

impl Usage {
    fn begin(&mut self, start: bool) {
        self.invocations += 1;
        self.now += 1;
        self.most = self.most.max(self.now);
        if start {
            self.starts += 1;
            self.environments += 1;
        }
    }
}
