//! The report of the simulation: its figures, and what is computed of them.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::builder::RangedU64ValueParser;
use clap::{Args, value_parser};
use serde::Serialize;

use super::lambda::FunctionUsage;
use super::meter::{CauseAccount, PartitionPeak, WorkCause};
use crate::agent_messages::{
    AGENT_CAPACITY, OUTPUT_CHUNKS_PER_TASK, REPORT_INTERVAL, STEPS_PER_TASK,
};
use crate::common::MESSAGE_FUNCTION;
use crate::prices::Prices;

/// By how much, in percent, a task's cost may differ from that with the fewest agents.
pub(super) const COST_TOLERANCE_PERCENT: f64 = 5.0;
const FEWEST_AGENTS: usize = 10;
/// Hours that a connection lasts at most.
const CONNECTION_LIFETIME_HOURS: f64 = 2.0;

// Doc comments are the command line's help.
#[derive(Debug, Clone, Copy, PartialEq, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Load {
    /// Agents that are connected; a thousand take half a minute, a hundred times as many half an
    /// hour.
    #[arg(long, default_value_t = 1000, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(super) agents: usize,
    /// Tasks that are asked for in a second, on average.
    #[arg(long, default_value_t = 1.0)]
    pub(super) tasks_per_second: f64,
    /// Seconds of virtual time in which they are.
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(1..=3600))]
    pub(super) seconds: u64,
    /// What the choices depend on.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DispatchFigures {
    /// Milliseconds from a command's arrival to its task's being posted to its agent.
    pub(super) ms_p50: f64,
    pub(super) ms_p95: f64,
    pub(super) ms_p99: f64,
    pub(super) ms_max: f64,
    /// The most tasks at a time that were asked for and not yet sent.
    pub(super) waiting: usize,
    pub(super) repeated: usize,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunFigures {
    pub(super) load: Load,
    pub(super) tasks: usize,
    /// Seconds of virtual time, from the first command until all tasks had ended.
    pub(super) seconds: f64,
    pub(super) dispatched: DispatchFigures,
    pub(super) accounts: BTreeMap<WorkCause, CauseAccount>,
    pub(super) functions: BTreeMap<String, FunctionUsage>,
    pub(super) hottest: BTreeMap<String, PartitionPeak>,
    /// The most invocations that led to each other by messages.
    pub(super) longest_chain: u32,
}

/// US dollars that a connected agent costs in an hour without tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentHourCost {
    pub(super) heartbeats: f64,
    pub(super) sweeper: f64,
    pub(super) connection: f64,
    /// Connecting anew every 2 h, as API Gateway makes it.
    pub(super) reconnecting: f64,
}

impl AgentHourCost {
    pub(super) fn total(self) -> f64 {
        self.heartbeats + self.sweeper + self.connection + self.reconnecting
    }
}

impl RunFigures {
    fn usd_of_cause(&self, cause: WorkCause) -> f64 {
        let account = self.accounts.get(&cause);
        account.map_or(0.0, |account| account.cost.total())
    }

    /// The cost of a thousand tasks, in US dollars; none if there were no tasks.
    pub(super) fn usd_per_1000_tasks(&self) -> Option<f64> {
        let cost = self.usd_of_cause(WorkCause::Task) / self.tasks as f64 * 1000.0;
        (self.tasks > 0).then_some(cost)
    }

    pub(super) fn agent_hour_cost(&self, prices: &Prices) -> AgentHourCost {
        let agents = self.load.agents as f64;
        let sweeps = self.accounts.get(&WorkCause::Sweep);
        let sweeps = sweeps.and_then(|it| it.invocations.get("sweeper").copied());
        AgentHourCost {
            heartbeats: self.usd_of_cause(WorkCause::Presence) / agents / (self.seconds / 3600.0),
            // It runs 60 times an hour, however often it fell into these seconds.
            sweeper: self.usd_of_cause(WorkCause::Sweep) / sweeps.unwrap_or(1.0) * 60.0 / agents,
            connection: prices.connection_cost(60.0),
            reconnecting: self.usd_of_cause(WorkCause::Connect)
                / agents
                / CONNECTION_LIFETIME_HOURS,
        }
    }
}

/// One run of the same tasks, of the ladder of ever more agents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LadderRung {
    pub(super) load: Load,
    pub(super) tasks: usize,
    pub(super) usd_per_1000_tasks: f64,
    /// The difference of that from the first rung, in percent.
    pub(super) deviation_percent: f64,
    pub(super) agent_hour: AgentHourCost,
    pub(super) dispatched: DispatchFigures,
    pub(super) environments: usize,
}

impl LadderRung {
    fn new(outcome: &RunFigures, first: Option<f64>, prices: &Prices) -> Self {
        let cost = outcome.usd_per_1000_tasks().unwrap_or_default();
        let first = first.unwrap_or(cost);
        let deviation = (cost / first - 1.0) * 100.0;
        let messages = outcome.functions.get(MESSAGE_FUNCTION);
        Self {
            load: outcome.load,
            tasks: outcome.tasks,
            usd_per_1000_tasks: cost,
            deviation_percent: if first > 0.0 { deviation } else { 0.0 },
            agent_hour: outcome.agent_hour_cost(prices),
            dispatched: outcome.dispatched,
            environments: messages.map_or(0, |usage| usage.environments),
        }
    }

    /// Whether a task costs what it costs with the fewest agents.
    pub(super) fn is_cost_flat(&self) -> bool {
        self.deviation_percent.abs() <= COST_TOLERANCE_PERCENT
    }
}

/// Runs the same tasks with ten agents, a hundred, and so on; returns also the last of the runs. No more
/// tasks a second than half of what ten agents can do, so that none has to wait.
pub(super) fn run_ladder(
    load: Load,
    prices: &Prices,
    run: &mut impl FnMut(Load) -> Result<RunFigures>,
) -> Result<(Vec<LadderRung>, Option<RunFigures>)> {
    let (mut rungs, mut last): (Vec<LadderRung>, _) = (Vec::new(), None);
    for agents in ladder_agent_counts(load.agents) {
        let outcome = run(Load {
            agents,
            tasks_per_second: load.tasks_per_second.min(half_capacity_rate(FEWEST_AGENTS)),
            ..load
        })?;
        let first = rungs.first().map(|rung| rung.usd_per_1000_tasks);
        rungs.push(LadderRung::new(&outcome, first, prices));
        last = Some(outcome);
    }
    Ok((rungs, last))
}

/// Tasks a second that agents do with half of their capacity.
fn half_capacity_rate(agents: usize) -> f64 {
    let task = REPORT_INTERVAL.as_secs_f64() * (STEPS_PER_TASK + OUTPUT_CHUNKS_PER_TASK + 1) as f64;
    (agents * AGENT_CAPACITY) as f64 / task / 2.0
}

/// Powers of ten, up to this number.
fn ladder_agent_counts(most: usize) -> Vec<usize> {
    let tens = std::iter::successors(Some(FEWEST_AGENTS), |agents| agents.checked_mul(10));
    let tens = tens.take_while(|agents| *agents < most);
    tens.chain([most]).collect()
}

#[cfg(test)]
mod tests {
    use xtask::Workspace;

    use super::*;
    use crate::simulate::run::run_in_virtual_time;
    use crate::template::Template;

    fn load(agents: usize, tasks_per_second: f64, seconds: u64) -> Load {
        Load {
            agents,
            tasks_per_second,
            seconds,
            seed: 1,
        }
    }

    fn simulated(load: Load) -> Result<RunFigures> {
        let template = Template::read(&Workspace::find()?)?;
        run_in_virtual_time(&template, &Prices::load()?, load, &|_| ())
    }

    #[test]
    fn the_ladder_goes_up_in_tens() {
        assert_eq!(ladder_agent_counts(1000), [10, 100, 1000]);
        assert_eq!(ladder_agent_counts(250), [10, 100, 250]);
        assert_eq!(ladder_agent_counts(10), [10]);
        assert_eq!(ladder_agent_counts(3), [3]);
    }

    #[test]
    fn a_task_costs_the_same_among_ten_agents_and_among_five_hundred() {
        let prices = Prices::load().unwrap();
        let few = simulated(load(10, 0.5, 20)).unwrap();
        let many = simulated(load(500, 0.5, 20)).unwrap();
        assert!(few.tasks > 3 && few.tasks == many.tasks);
        let rung = LadderRung::new(&many, few.usd_per_1000_tasks(), &prices);
        assert!(rung.is_cost_flat(), "{rung:?}");
        assert_eq!((few.dispatched.repeated, many.dispatched.repeated), (0, 0));
    }

    #[test]
    fn tasks_that_find_no_place_wait_and_are_done_all_the_same() {
        let outcome = simulated(load(1, 2.0, 10)).unwrap();
        assert!(outcome.tasks > 10, "{outcome:?}");
        assert!(outcome.dispatched.waiting > 5, "{:?}", outcome.dispatched);
        assert!(outcome.dispatched.ms_max > 10_000.0);
    }

    #[test]
    fn no_chain_of_invocations_grows_with_the_tasks() {
        let [few, many] = [10, 40].map(|seconds| simulated(load(10, 0.5, seconds)).unwrap());
        assert!(many.tasks > 2 * few.tasks, "{} {}", few.tasks, many.tasks);
        assert!(
            few.longest_chain >= 3,
            "a command, a dispatch, a refresh: {}",
            few.longest_chain
        );
        assert!(many.longest_chain <= 16, "{}", many.longest_chain);
    }

    #[test]
    fn the_same_run_gives_the_same_figures() {
        let [one, two] = [1, 2].map(|_| simulated(load(10, 0.5, 10)).unwrap());
        assert_eq!(one.dispatched, two.dispatched);
        let calls = |outcome: &RunFigures| outcome.accounts[&WorkCause::Task].calls.clone();
        assert_eq!(calls(&one), calls(&two));
    }
}
