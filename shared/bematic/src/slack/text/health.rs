//! Texts about the agents' circuit breakers.

use std::collections::BTreeMap;

use bematic_protocol::{ids::AgentId, time::Timestamp};

use super::{ago, duration, list, plural};
use crate::{
    breaker::{Breaker, BreakerConfig, Counted, LastFailure, Mode, Passage, State, Trip},
    command::BreakerOrder,
    slack::mrkdwn::{self, escape},
};

/// An agent and its breaker.
#[derive(Debug, Clone, Copy)]
pub struct AgentHealth<'a> {
    /// The agent.
    pub id: &'a AgentId,
    /// Whether it is connected.
    pub online: bool,
    /// The time at which the agent was created: a breaker that never opened has been closed since
    /// then.
    pub created_at: Timestamp,
    /// The settings of the agent's breaker.
    pub config: BreakerConfig,
    /// The breaker, as of now.
    pub breaker: &'a Breaker,
}

/// The counts of the outcomes in the window.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    total: usize,
    failures: usize,
    slow: usize,
}

impl AgentHealth<'_> {
    fn tally(&self, now: Timestamp) -> Tally {
        let counting = self.breaker.window.counting(self.config.window(), now);
        counting.fold(Tally::default(), |tally, outcome| Tally {
            total: tally.total + 1,
            failures: tally.failures + usize::from(outcome.counted.is_failure()),
            slow: tally.slow + usize::from(outcome.counted == Counted::Slow),
        })
    }

    fn since(&self, now: Timestamp) -> String {
        let ordered_at = self.breaker.mode.operator_override().map(|order| order.at);
        let since = ordered_at.or(self.breaker.since).unwrap_or(self.created_at);
        duration(now.since(since))
    }
}

/// Returns the percentage, to the nearest whole number.
fn percent(part: usize, total: usize) -> usize {
    (part * 100 + total / 2).checked_div(total).unwrap_or(0)
}

/// Renders all agents, first those whose breaker does not permit all tasks: a list that is too long
/// leaves out the rest.
pub fn health(agents: &[AgentHealth<'_>], now: Timestamp) -> String {
    if agents.is_empty() {
        return super::agents(&[], now);
    }
    let (well, noteworthy): (Vec<_>, Vec<_>) = agents
        .iter()
        .partition(|agent| agent.breaker.gate().passage == Passage::All);
    let entries: Vec<_> = noteworthy
        .into_iter()
        .chain(well)
        .map(|agent| entry(agent, now))
        .collect();
    let mut text = list(entries.into_iter());
    text.push_str(
        "\nOne character for each of the last 10 minutes: · no outcome, ▁ all succeeded … █ all \
         failed. `/bm health &lt;agent&gt;` shows more.",
    );
    text
}

fn entry(agent: &AgentHealth<'_>, now: Timestamp) -> String {
    /// The number of characters of an error in a list.
    const ERROR: usize = 80;
    let Tally {
        total, failures, ..
    } = agent.tally(now);
    let (emoji, state) = state(agent.breaker);
    let offline = if agent.online { "" } else { ", offline" };
    let error = match &agent.breaker.last_failure {
        Some(last) => format!(
            " last error {}: {}",
            ago(last.at, now),
            failure(last, ERROR)
        ),
        None => String::new(),
    };
    format!(
        "{emoji} `{}` *{state}* for {}{offline} – {failures} of {total} failed ({} %)\n      `{}`{error}",
        agent.id,
        agent.since(now),
        percent(failures, total),
        sparkline(agent.breaker, now),
    )
}

fn state(breaker: &Breaker) -> (&'static str, &'static str) {
    match (&breaker.mode, &breaker.state) {
        (Mode::Drained(_), _) => (":construction:", "drained"),
        (Mode::Disabled(_), _) => (":no_bell:", "disabled"),
        (Mode::Automatic, State::Closed) => (":large_green_circle:", "closed"),
        (Mode::Automatic, State::Open { .. }) => (":red_circle:", "open"),
        (Mode::Automatic, State::HalfOpen { .. }) => (":large_yellow_circle:", "half-open"),
    }
}

/// Renders the share of failures in each of the last 10 min as a character, the oldest first.
fn sparkline(breaker: &Breaker, now: Timestamp) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const MINUTES: usize = 10;
    let mut minutes = [(0_usize, 0_usize); MINUTES];
    for outcome in breaker.window.all() {
        let ago = now.since(outcome.at).as_secs() / 60;
        let place = usize::try_from(ago)
            .ok()
            .and_then(|ago| (MINUTES - 1).checked_sub(ago));
        if let Some((total, failures)) = place.and_then(|place| minutes.get_mut(place)) {
            *total += 1;
            *failures += usize::from(outcome.counted.is_failure());
        }
    }
    let sign = |(total, failures): (usize, usize)| match total {
        0 => '·',
        total => SIGNS[(failures * (SIGNS.len() - 1)).div_ceil(total)],
    };
    minutes.into_iter().map(sign).collect()
}

/// Renders one agent in detail.
pub fn health_of(agent: &AgentHealth<'_>, now: Timestamp) -> String {
    let parts = [
        headline(agent, now),
        rules(agent, now),
        counted(agent, now),
        probes(agent),
        ignored(agent.breaker, now),
        last_error(agent.breaker, now),
    ];
    let lines: Vec<_> = parts.into_iter().flatten().collect();
    list(lines.into_iter())
}

fn headline(agent: &AgentHealth<'_>, now: Timestamp) -> Vec<String> {
    /// The number of characters of a note.
    const NOTE: usize = 300;
    let (emoji, name) = state(agent.breaker);
    let offline = if agent.online { "" } else { ", offline" };
    let mut lines = vec![format!(
        "{emoji} `{}` is *{name}* for {}{offline}. `{}`",
        agent.id,
        agent.since(now),
        sparkline(agent.breaker, now)
    )];
    if let Some(order) = agent.breaker.mode.operator_override() {
        let note = match order.note.as_str() {
            "" => String::new(),
            note => format!(": {}", mrkdwn::line(note, NOTE)),
        };
        lines.push(format!(
            "Ordered by <@{}> {}{note}. It ends in {}, or with `/bm agent resume {}`.",
            escape(&order.by),
            ago(order.at, now),
            duration(order.until.since(now)),
            agent.id
        ));
    }
    match &agent.breaker.state {
        State::Closed => {}
        State::Open { retry_at, trip } => {
            let wait = retry_at.since(now);
            let next = if wait.is_zero() {
                "The next task is sent as a probe".to_owned()
            } else {
                format!("The first probe is sent in {}", duration(wait))
            };
            lines.push(format!("{}. {next}.", tripped(trip)));
        }
        State::HalfOpen { trip, .. } => lines.push(format!("{}.", tripped(trip))),
    }
    lines
}

/// Returns the rule that opened the breaker as a sentence without its full stop.
pub(in crate::slack) fn tripped(trip: &Trip) -> String {
    match trip {
        Trip::FailureRate { failures, total } => {
            format!("It opened because {failures} of {total} tasks failed")
        }
        Trip::Consecutive { failures } => {
            format!("It opened because {failures} tasks in a row failed")
        }
        Trip::SlowRate { slow, total } => {
            format!("It opened because {slow} of {total} tasks were slow")
        }
        Trip::Probe { kind } => format!("It opened again because a probe failed: {kind}"),
        Trip::SlowProbe => "It opened again because a probe was slow".to_owned(),
        Trip::ProbeLost => "It opened again because a probe had no outcome in time".to_owned(),
    }
}

fn rules(agent: &AgentHealth<'_>, now: Timestamp) -> Vec<String> {
    let (config, tally) = (&agent.config, agent.tally(now));
    let consecutive = match config.consecutive_failure_threshold {
        0 => "off".to_owned(),
        most => format!("{} of {most}", agent.breaker.consecutive),
    };
    let slow = match config.slow_call_duration_ms {
        0 => "off".to_owned(),
        _ => format!(
            "{} % of {}, opens at {} % of at least {}",
            percent(tally.slow, tally.total),
            plural(tally.total, "outcome"),
            config.slow_call_threshold_percentage,
            config.minimum_request_count
        ),
    };
    vec![
        "*What opens it*".to_owned(),
        format!(
            "• failures: {} % of {} in the last {}, opens at {} % of at least {}",
            percent(tally.failures, tally.total),
            plural(tally.total, "outcome"),
            duration(config.window()),
            config.failure_threshold_percentage,
            config.minimum_request_count
        ),
        format!("• failures in a row: {consecutive}"),
        format!("• slow tasks: {slow}"),
    ]
}

fn counted(agent: &AgentHealth<'_>, now: Timestamp) -> Vec<String> {
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    for outcome in agent.breaker.window.counting(agent.config.window(), now) {
        let kind = match outcome.counted {
            Counted::Success => "succeeded",
            Counted::Slow => "succeeded slowly",
            Counted::Failure(kind) => kind.into(),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let counts: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} × {kind}"))
        .collect();
    let counts = if counts.is_empty() {
        "nothing".to_owned()
    } else {
        counts.join(", ")
    };
    vec![format!("*Counted*: {counts}")]
}

fn probes(agent: &AgentHealth<'_>) -> Vec<String> {
    let State::HalfOpen {
        successes, permits, ..
    } = &agent.breaker.state
    else {
        return Vec::new();
    };
    let needed = agent.config.success_threshold_count;
    let out: Vec<_> = permits
        .iter()
        .map(|permit| format!("`{}`", escape(&permit.id)))
        .collect();
    let out = if out.is_empty() {
        "none is running".to_owned()
    } else {
        format!("running: {}", out.join(", "))
    };
    vec![format!(
        "*Probes*: {successes} of {needed} have succeeded; {out}"
    )]
}

fn ignored(breaker: &Breaker, now: Timestamp) -> Vec<String> {
    if breaker.ignored.is_empty() {
        return Vec::new();
    }
    let lines = breaker.ignored.iter().rev().map(|ignored| {
        format!(
            "• `{}` – {} – {}",
            escape(&ignored.id),
            ignored.because,
            ago(ignored.at, now)
        )
    });
    std::iter::once("*Not counted*".to_owned())
        .chain(lines)
        .collect()
}

fn last_error(breaker: &Breaker, now: Timestamp) -> Vec<String> {
    /// The number of characters of an error.
    const ERROR: usize = 300;
    let Some(last) = &breaker.last_failure else {
        return Vec::new();
    };
    vec![format!(
        "*Last error* {}: {}",
        ago(last.at, now),
        failure(last, ERROR)
    )]
}

/// Returns the agent's message about its failure, or else the kind of failure.
pub(in crate::slack) fn failure(failure: &LastFailure, max: usize) -> String {
    match mrkdwn::line(&failure.message, max) {
        message if message.is_empty() => failure.kind.to_string(),
        message => message,
    }
}

/// Returns the confirmation of an operator's order; `changed` is false if it changed nothing.
pub fn order_executed(
    id: &AgentId,
    order: &BreakerOrder,
    after: &Breaker,
    changed: bool,
) -> String {
    match order {
        BreakerOrder::Reset if !changed => {
            format!("The breaker of `{id}` is closed already, with nothing counted.")
        }
        BreakerOrder::Resume if !changed => {
            format!(
                "`{id}` is neither drained nor disabled: its breaker is {}.",
                after.state.name()
            )
        }
        BreakerOrder::Reset => {
            let taken_over = match &after.mode {
                Mode::Automatic => String::new(),
                Mode::Drained(_) => {
                    format!(" It is still drained: `/bm agent resume {id}` ends that.")
                }
                Mode::Disabled(_) => {
                    format!(" It is still disabled: `/bm agent resume {id}` ends that.")
                }
            };
            format!(
                ":white_check_mark: The breaker of `{id}` is reset: closed, with nothing \
                 counted.{taken_over}"
            )
        }
        BreakerOrder::Drain { lasts, .. } => format!(
            ":construction: `{id}` finishes what it runs and gets nothing new for {}. `/bm agent \
             resume {id}` ends that.",
            duration(*lasts)
        ),
        BreakerOrder::Disable { lasts, .. } => format!(
            ":no_bell: `{id}` is sent tasks for {}, whatever the outcomes. `/bm agent resume {id}` \
             ends that.",
            duration(*lasts)
        ),
        BreakerOrder::Resume => format!(
            ":white_check_mark: `{id}` is controlled by its breaker again, which is {}.",
            after.state.name()
        ),
    }
}

/// Returns the answer where the breaker changed too often for the order to be stored.
pub fn breaker_contended(id: &AgentId) -> String {
    format!("Many tasks of `{id}` end right now, and your order could not be stored. Try again.")
}

#[cfg(test)]
mod tests;
