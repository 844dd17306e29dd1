//! How well the agents do.

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
    /// When it was made: closed since then, if it never opened.
    pub created_at: Timestamp,
    /// The settings of its breaker.
    pub config: BreakerConfig,
    /// Its breaker, as it is now.
    pub breaker: &'a Breaker,
}

/// What the window holds.
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
        let said = self.breaker.mode.said().map(|said| said.at);
        let since = said.or(self.breaker.since).unwrap_or(self.created_at);
        duration(now.since(since))
    }
}

/// Per cent, to the nearest whole one.
fn percent(part: usize, total: usize) -> usize {
    (part * 100 + total / 2).checked_div(total).unwrap_or(0)
}

/// All agents, those first that do not simply get work: a list that is too long leaves out the rest.
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
        "\nOne sign a minute of the last 10: · nothing, ▁ all went well … █ all failed. `/bm health \
         &lt;agent&gt;` tells more.",
    );
    text
}

fn entry(agent: &AgentHealth<'_>, now: Timestamp) -> String {
    /// Characters of an error in a list.
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

/// The last 10 min, a sign a minute, the oldest first: the share that failed.
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

/// One agent in detail.
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
    /// Characters of a note.
    const NOTE: usize = 300;
    let (emoji, name) = state(agent.breaker);
    let offline = if agent.online { "" } else { ", offline" };
    let mut lines = vec![format!(
        "{emoji} `{}` is *{name}* for {}{offline}. `{}`",
        agent.id,
        agent.since(now),
        sparkline(agent.breaker, now)
    )];
    if let Some(said) = agent.breaker.mode.said() {
        let note = match said.note.as_str() {
            "" => String::new(),
            note => format!(": {}", mrkdwn::line(note, NOTE)),
        };
        lines.push(format!(
            "<@{}> said so {}{note}. It ends in {}, or with `/bm agent resume {}`.",
            escape(&said.by),
            ago(said.at, now),
            duration(said.until.since(now)),
            agent.id
        ));
    }
    match &agent.breaker.state {
        State::Closed => {}
        State::Open { retry_at, trip } => {
            let wait = retry_at.since(now);
            let next = if wait.is_zero() {
                "The next task is a probe".to_owned()
            } else {
                format!("It is tried again in {}", duration(wait))
            };
            lines.push(format!("{}. {next}.", tripped(trip)));
        }
        State::HalfOpen { trip, .. } => lines.push(format!("{}.", tripped(trip))),
    }
    lines
}

/// Why it opened, as a sentence without its full stop.
pub(in crate::slack) fn tripped(trip: &Trip) -> String {
    match trip {
        Trip::FailureRate { failures, total } => {
            format!("It opened since {failures} of {total} tasks failed")
        }
        Trip::Consecutive { failures } => {
            format!("It opened since {failures} tasks in a row failed")
        }
        Trip::SlowRate { slow, total } => {
            format!("It opened since {slow} of {total} tasks were slow")
        }
        Trip::Probe { kind } => format!("It opened again since a probe failed: {kind}"),
        Trip::SlowProbe => "It opened again since a probe was slow".to_owned(),
        Trip::ProbeLost => "It opened again since a probe did not come back".to_owned(),
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
    let said: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} × {kind}"))
        .collect();
    let said = if said.is_empty() {
        "nothing".to_owned()
    } else {
        said.join(", ")
    };
    vec![format!("*Counted*: {said}")]
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
        "none is out".to_owned()
    } else {
        format!("out: {}", out.join(", "))
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
    /// Characters of an error.
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

/// What an agent said of its failure, or else what it was.
pub(in crate::slack) fn failure(failure: &LastFailure, max: usize) -> String {
    match mrkdwn::line(&failure.message, max) {
        said if said.is_empty() => failure.kind.to_string(),
        said => said,
    }
}

/// An operator's word was heard; `anew` unless it was so before.
pub fn ordered(id: &AgentId, order: &BreakerOrder, after: &Breaker, anew: bool) -> String {
    match order {
        BreakerOrder::Reset if !anew => format!("`{id}` is closed already, with nothing counted."),
        BreakerOrder::Resume if !anew => {
            format!(
                "Nobody has taken over `{id}`: its breaker is {}.",
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
                ":white_check_mark: `{id}` starts anew: closed, with nothing counted.{taken_over}"
            )
        }
        BreakerOrder::Drain { lasts, .. } => format!(
            ":construction: `{id}` finishes what it runs and gets nothing new for {}. `/bm agent \
             resume {id}` ends that.",
            duration(*lasts)
        ),
        BreakerOrder::Disable { lasts, .. } => format!(
            ":no_bell: `{id}` gets work for {}, whatever it makes of it. `/bm agent resume {id}` \
             ends that.",
            duration(*lasts)
        ),
        BreakerOrder::Resume => format!(
            ":white_check_mark: `{id}` is left to its breaker again, which is {}.",
            after.state.name()
        ),
    }
}

/// Its breaker changed faster than an operator could be heard.
pub fn breaker_contended(id: &AgentId) -> String {
    format!("Many tasks of `{id}` end right now, and I could not get a word in. Try again.")
}

#[cfg(test)]
mod tests;
