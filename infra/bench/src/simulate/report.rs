//! What came of a run, and what is computed of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fleet::Dispatched;
use super::lambda::Usage;
use super::meter::{Account, Cause, Hottest};
use crate::prices::Prices;
use crate::stats::{millis, percentile};

/// What is put on it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Agents that are connected.
    pub agents: usize,
    /// Commands a second, on average.
    pub tasks_per_second: f64,
    /// Seconds in which they come.
    pub seconds: u64,
    /// What the choices depend on.
    pub seed: u64,
}

/// How tasks came to their agents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dispatch {
    /// Milliseconds from a command's arrival to its task's being posted to its agent.
    pub ms_p50: f64,
    /// As above.
    pub ms_p95: f64,
    /// As above.
    pub ms_p99: f64,
    /// As above.
    pub ms_max: f64,
    /// The most tasks that were asked for and not yet sent.
    pub waiting: usize,
    /// Tasks that were sent more than once.
    pub repeated: usize,
}

impl From<Dispatched> for Dispatch {
    fn from(dispatched: Dispatched) -> Self {
        let after: Vec<_> = dispatched.after.into_iter().map(millis).collect();
        let at = |percent| percentile(&after, percent).unwrap_or_default();
        Self {
            ms_p50: at(50),
            ms_p95: at(95),
            ms_p99: at(99),
            ms_max: at(100),
            waiting: dispatched.waiting,
            repeated: dispatched.repeated,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What was put on it.
    pub load: Load,
    /// Tasks that were asked for, all of which ended.
    pub tasks: usize,
    /// Seconds of virtual time, from the first command until all tasks had ended.
    pub seconds: f64,
    /// How the tasks came to their agents.
    pub dispatched: Dispatch,
    /// What was done, by what for.
    pub accounts: BTreeMap<Cause, Account>,
    /// How each function was used in those seconds.
    pub functions: BTreeMap<String, Usage>,
    /// The busiest partitions, by the table or index and the kind of key.
    pub hottest: BTreeMap<String, Hottest>,
}

/// US dollars that an agent costs in an hour by being there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentHour {
    /// Its heartbeats.
    pub heartbeats: f64,
    /// Its share of the sweeper.
    pub sweeper: f64,
    /// The minutes of its connection.
    pub connection: f64,
    /// Connecting anew every 2 h, as API Gateway makes it.
    pub reconnecting: f64,
}

impl AgentHour {
    /// All of it.
    pub fn total(self) -> f64 {
        self.heartbeats + self.sweeper + self.connection + self.reconnecting
    }
}

/// Hours that a connection lasts at most.
const LIFETIME: f64 = 2.0;

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
impl Outcome {
    fn dollars(&self, cause: Cause) -> f64 {
        let account = self.accounts.get(&cause);
        account.map_or(0.0, |account| account.cost.total())
    }

    /// What a task costs, in US dollars; none if there were none.
    pub fn task(&self) -> Option<f64> {
        let tasks = (self.tasks > 0).then_some(self.tasks as f64)?;
        Some(self.dollars(Cause::Task) / tasks)
    }

    /// What an agent costs by being there.
    pub fn agent_hour(&self, prices: &Prices) -> AgentHour {
        let agents = self.load.agents as f64;
        let hours = self.seconds / 3600.0;
        let sweeps = self.accounts.get(&Cause::Sweep);
        let sweeps = sweeps.and_then(|it| it.invocations.get("sweeper").copied());
        AgentHour {
            heartbeats: self.dollars(Cause::Presence) / agents / hours,
            // It runs 60 times an hour, however often it fell into these seconds.
            sweeper: self.dollars(Cause::Sweep) / sweeps.unwrap_or(1.0) * 60.0 / agents,
            connection: prices.connected(60.0),
            reconnecting: self.dollars(Cause::Connect) / agents / LIFETIME,
        }
    }
}
