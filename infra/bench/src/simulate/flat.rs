//! Whether a task costs the same however many agents are connected.

use anyhow::Result;
use serde::Serialize;

use super::report::{AgentHour, Dispatch, Load, Outcome};
use crate::prices::Prices;
use crate::scenario::PACE;
use crate::words::{CAPACITY, CHUNKS, STEPS};

/// By how much, in percent, a task's cost may differ from that with ten agents.
pub const TOLERANCE: f64 = 5.0;
/// The fewest agents.
const FEWEST: usize = 10;

/// One run of the same tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rung {
    /// What was put on it.
    pub load: Load,
    /// Tasks, all of which ended.
    pub tasks: usize,
    /// What a thousand tasks cost, in US dollars.
    pub usd_per_1000_tasks: f64,
    /// By how much that differs from the first, in percent.
    pub deviation_percent: f64,
    /// What an agent costs in an hour.
    pub agent_hour: AgentHour,
    /// How the tasks came to their agents.
    pub dispatched: Dispatch,
    /// Environments that the agents' messages were handled in.
    pub environments: usize,
}

impl Rung {
    fn new(outcome: &Outcome, first: Option<f64>, prices: &Prices) -> Self {
        let cost = outcome.task().unwrap_or_default() * 1000.0;
        let first = first.unwrap_or(cost);
        let messages = outcome.functions.get(crate::driver::MESSAGES);
        Self {
            load: outcome.load,
            tasks: outcome.tasks,
            usd_per_1000_tasks: cost,
            deviation_percent: if first > 0.0 {
                (cost / first - 1.0) * 100.0
            } else {
                0.0
            },
            agent_hour: outcome.agent_hour(prices),
            dispatched: outcome.dispatched,
            environments: messages.map_or(0, |usage| usage.environments),
        }
    }

    /// Whether a task costs what it costs with ten agents.
    pub fn is_flat(&self) -> bool {
        self.deviation_percent.abs() <= TOLERANCE
    }
}

/// The same tasks with ten agents, a hundred, and so on up to as many as were asked for; and the
/// last of the runs. No more tasks a second than half of what ten agents can do, so that none has
/// to wait.
pub(super) fn climb(
    load: Load,
    prices: &Prices,
    run: &mut impl FnMut(Load) -> Result<Outcome>,
) -> Result<(Vec<Rung>, Option<Outcome>)> {
    let (mut rungs, mut last): (Vec<Rung>, _) = (Vec::new(), None);
    for agents in steps(load.agents) {
        let outcome = run(Load {
            agents,
            tasks_per_second: load.tasks_per_second.min(fits(FEWEST)),
            ..load
        })?;
        let first = rungs.first().map(|rung| rung.usd_per_1000_tasks);
        rungs.push(Rung::new(&outcome, first, prices));
        last = Some(outcome);
    }
    Ok((rungs, last))
}

/// Tasks a second that keep half of the agents' places busy.
#[expect(clippy::cast_precision_loss, reason = "a few agents and messages")]
fn fits(agents: usize) -> f64 {
    let task = PACE.as_secs_f64() * (STEPS + CHUNKS + 1) as f64;
    (agents * CAPACITY) as f64 / task / 2.0
}

/// Tens, up to this many.
fn steps(most: usize) -> Vec<usize> {
    let tens = std::iter::successors(Some(FEWEST), |agents| agents.checked_mul(10));
    tens.take_while(|agents| *agents < most)
        .chain([most])
        .collect()
}

#[cfg(test)]
mod tests {
    use xtask::Workspace;

    use super::*;
    use crate::simulate::meter::Cause;
    use crate::simulate::run::run;
    use crate::template::Template;

    fn load(agents: usize, tasks_per_second: f64, seconds: u64) -> Load {
        Load {
            agents,
            tasks_per_second,
            seconds,
            seed: 1,
        }
    }

    fn simulated(load: Load) -> Result<Outcome> {
        let template = Template::read(&Workspace::find()?)?;
        run(&template, &Prices::read()?, load, &|_| ())
    }

    #[test]
    fn the_ladder_goes_up_in_tens() {
        assert_eq!(steps(1000), [10, 100, 1000]);
        assert_eq!(steps(250), [10, 100, 250]);
        assert_eq!(steps(10), [10]);
        assert_eq!(steps(3), [3]);
    }

    #[test]
    fn a_task_costs_the_same_among_ten_agents_and_among_five_hundred() {
        let prices = Prices::read().unwrap();
        let few = simulated(load(10, 0.5, 20)).unwrap();
        let many = simulated(load(500, 0.5, 20)).unwrap();
        assert!(few.tasks > 3 && few.tasks == many.tasks);
        let rung = Rung::new(&many, few.task().map(|cost| cost * 1000.0), &prices);
        assert!(rung.is_flat(), "{rung:?}");
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
    fn the_same_run_gives_the_same_figures() {
        let [one, two] = [1, 2].map(|_| simulated(load(10, 0.5, 10)).unwrap());
        assert_eq!(one.dispatched, two.dispatched);
        let calls = |outcome: &Outcome| outcome.accounts[&Cause::Task].calls.clone();
        assert_eq!(calls(&one), calls(&two));
    }
}
