//! Texts about the agents' circuit breakers.

use std::collections::BTreeMap;

use bematic_protocol::{ids::AgentId, time::Timestamp};

use super::{ago, count_with_noun, duration, fit_lines, inline_code_list};
use crate::{
    agent::Agent,
    breaker::{
        Breaker, BreakerConfig, Counts, LastFailure, Mode, OutcomeKind, PermittedAttempts, State,
    },
    command::BreakerOrder,
    slack::mrkdwn::{self, escape},
};

/// An agent and its breaker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgentHealth<'a> {
    pub agent: &'a Agent,
    /// The settings of the agent's breaker.
    pub config: BreakerConfig,
    /// The breaker, as of now.
    pub breaker: &'a Breaker,
}

impl AgentHealth<'_> {
    fn count_outcomes(&self, now: Timestamp) -> Counts {
        self.breaker.window.counts(self.config.window_length(), now)
    }

    /// Returns how long the breaker has been in its state, or else how old the agent is.
    fn time_in_state(&self, now: Timestamp) -> String {
        let ordered_at = self.breaker.mode.operator_override().map(|order| order.at);
        let since = ordered_at.or(self.breaker.since);
        duration(now.since(since.unwrap_or(self.agent.created_at)))
    }

    fn offline_suffix(&self) -> &'static str {
        match self.agent.connection {
            Some(_) => "",
            None => ", offline",
        }
    }
}

/// Returns the percentage, to the nearest whole number.
fn percent(part: u32, total: u32) -> u32 {
    (part * 100 + total / 2).checked_div(total).unwrap_or(0)
}

/// Renders all agents, first those whose breaker does not permit all tasks.
pub(crate) fn health_list(agents: &[AgentHealth<'_>], now: Timestamp) -> String {
    if agents.is_empty() {
        return super::agents(&[], now);
    }
    let (well, noteworthy): (Vec<_>, Vec<_>) = agents
        .iter()
        .partition(|agent| agent.breaker.gate().permitted == PermittedAttempts::All);
    let sorted = [noteworthy, well].concat();
    fit_lines(
        sorted
            .into_iter()
            .map(|agent| health_list_entry(agent, now)),
    ) + "\nOne character for each of the last 10 minutes: · no outcome, ▁ all succeeded … █ all \
           failed. `/bm health &lt;agent&gt;` shows more."
}

fn health_list_entry(agent: &AgentHealth<'_>, now: Timestamp) -> String {
    /// The number of characters of an error in a list.
    const ERROR: usize = 80;
    let Counts {
        total, failures, ..
    } = agent.count_outcomes(now);
    let (emoji, state) = state_emoji_and_name(agent.breaker);
    let error = last_error(agent.breaker, ERROR, now)
        .map(|error| format!(" last error {error}"))
        .unwrap_or_default();
    format!(
        "{emoji} `{}` *{state}* for {}{} – {failures} of {total} failed ({} %)\n      `{}`{error}",
        agent.agent.id,
        agent.time_in_state(now),
        agent.offline_suffix(),
        percent(failures, total),
        failure_sparkline(agent.breaker, now),
    )
}

fn state_emoji_and_name(breaker: &Breaker) -> (&'static str, &'static str) {
    match (&breaker.mode, &breaker.state) {
        (Mode::Drained(_), _) => (":construction:", "drained"),
        (Mode::Disabled(_), _) => (":no_bell:", "disabled"),
        (Mode::Automatic, State::Closed) => (":large_green_circle:", "closed"),
        (Mode::Automatic, State::Open { .. }) => (":red_circle:", "open"),
        (Mode::Automatic, State::HalfOpen { .. }) => (":large_yellow_circle:", "half-open"),
    }
}

/// Renders the share of failures in each of the last 10 min as a character, the oldest first.
fn failure_sparkline(breaker: &Breaker, now: Timestamp) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const MINUTES: usize = 10;
    let mut minutes = [(0_usize, 0_usize); MINUTES];
    for outcome in breaker.window.kept_outcomes() {
        let ago = now.since(outcome.at).as_secs() / 60;
        let place = usize::try_from(ago)
            .ok()
            .and_then(|ago| (MINUTES - 1).checked_sub(ago));
        if let Some((total, failures)) = place.and_then(|place| minutes.get_mut(place)) {
            *total += 1;
            *failures += usize::from(outcome.kind.is_failure());
        }
    }
    let sign = |(total, failures): (usize, usize)| match total {
        0 => '·',
        total => SIGNS[(failures * (SIGNS.len() - 1)).div_ceil(total)],
    };
    minutes.into_iter().map(sign).collect()
}

/// Renders one agent in detail.
pub(crate) fn health_details(agent: &AgentHealth<'_>, now: Timestamp) -> String {
    /// The number of characters of an error.
    const ERROR: usize = 300;
    let last_error = last_error(agent.breaker, ERROR, now);
    let lines = [
        state_lines(agent, now),
        trip_conditions(agent, now),
        vec![counted_outcomes(agent, now)],
        Vec::from_iter(probes(agent)),
        ignored_reports(agent.breaker, now),
        Vec::from_iter(last_error.map(|error| format!("*Last error* {error}"))),
    ];
    fit_lines(lines.concat().into_iter())
}

fn state_lines(agent: &AgentHealth<'_>, now: Timestamp) -> Vec<String> {
    /// The number of characters of a note.
    const NOTE: usize = 300;
    let (emoji, name) = state_emoji_and_name(agent.breaker);
    let mut lines = vec![format!(
        "{emoji} `{}` is *{name}* for {}{}. `{}`",
        agent.agent.id,
        agent.time_in_state(now),
        agent.offline_suffix(),
        failure_sparkline(agent.breaker, now)
    )];
    if let Some(order) = agent.breaker.mode.operator_override() {
        let note = match order.note.as_str() {
            "" => String::new(),
            note => format!(": {}", mrkdwn::escape_one_line(note, NOTE)),
        };
        lines.push(format!(
            "Ordered by <@{}> {}{note}. It ends in {}, or with `/bm agent resume {}`.",
            escape(&order.by),
            ago(order.at, now),
            duration(order.until.since(now)),
            agent.agent.id
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
            lines.push(format!("{trip}. {next}."));
        }
        State::HalfOpen { trip, .. } => lines.push(format!("{trip}.")),
    }
    lines
}

fn trip_conditions(agent: &AgentHealth<'_>, now: Timestamp) -> Vec<String> {
    let (config, counts) = (&agent.config, agent.count_outcomes(now));
    let outcomes = count_with_noun(counts.total as usize, "outcome");
    let consecutive = match config.consecutive_failure_threshold {
        0 => "off".to_owned(),
        most => format!("{} of {most}", agent.breaker.consecutive),
    };
    let slow = match config.slow_call_duration_ms {
        0 => "off".to_owned(),
        _ => format!(
            "{} % of {}, opens at {} % of at least {}",
            percent(counts.slow, counts.total),
            outcomes,
            config.slow_call_threshold_percentage,
            config.minimum_request_count
        ),
    };
    vec![
        "*What opens it*".to_owned(),
        format!(
            "• failures: {} % of {} in the last {}, opens at {} % of at least {}",
            percent(counts.failures, counts.total),
            outcomes,
            duration(config.window_length()),
            config.failure_threshold_percentage,
            config.minimum_request_count
        ),
        format!("• failures in a row: {consecutive}"),
        format!("• slow tasks: {slow}"),
    ]
}

fn counted_outcomes(agent: &AgentHealth<'_>, now: Timestamp) -> String {
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    for outcome in agent
        .breaker
        .window
        .counting_outcomes(agent.config.window_length(), now)
    {
        let kind = match outcome.kind {
            OutcomeKind::Success => "succeeded",
            OutcomeKind::Slow => "succeeded slowly",
            OutcomeKind::Failure(kind) => kind.into(),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let counts = kinds
        .iter()
        .map(|(kind, count)| format!("{count} × {kind}"));
    match &*counts.collect::<Vec<_>>().join(", ") {
        "" => "*Counted*: nothing".to_owned(),
        counts => format!("*Counted*: {counts}"),
    }
}

fn probes(agent: &AgentHealth<'_>) -> Option<String> {
    let State::HalfOpen {
        successes, permits, ..
    } = &agent.breaker.state
    else {
        return None;
    };
    let needed = agent.config.success_threshold_count;
    let running = match &*inline_code_list(permits.iter().map(|permit| escape(&permit.id))) {
        "" => "none is running".to_owned(),
        ids => format!("running: {ids}"),
    };
    Some(format!(
        "*Probes*: {successes} of {needed} have succeeded; {running}"
    ))
}

fn ignored_reports(breaker: &Breaker, now: Timestamp) -> Vec<String> {
    let lines = breaker.ignored.iter().rev().map(|ignored| {
        let (id, because) = (escape(&ignored.id), ignored.because);
        format!("• `{id}` – {because} – {}", ago(ignored.at, now))
    });
    let title = (!breaker.ignored.is_empty()).then(|| "*Not counted*".to_owned());
    title.into_iter().chain(lines).collect()
}

/// Renders the last failure: its age, and at most `max` characters of its error.
fn last_error(breaker: &Breaker, max: usize, now: Timestamp) -> Option<String> {
    let last = breaker.last_failure.as_ref()?;
    Some(format!(
        "{}: {}",
        ago(last.at, now),
        failure_message(last, max)
    ))
}

/// Returns the agent's message about its failure, or else the kind of failure.
pub(in crate::slack) fn failure_message(failure: &LastFailure, max: usize) -> String {
    match mrkdwn::escape_one_line(&failure.message, max) {
        message if message.is_empty() => failure.kind.to_string(),
        message => message,
    }
}

/// Returns the answer to an operator's order; `changed` is false if it changed nothing.
pub(crate) fn breaker_order_answer(
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
            let mode = match &after.mode {
                Mode::Automatic => String::new(),
                _ => format!(
                    " It is still {}: `/bm agent resume {id}` ends that.",
                    state_emoji_and_name(after).1
                ),
            };
            format!(
                ":white_check_mark: The breaker of `{id}` is reset: closed, with nothing \
                 counted.{mode}"
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
pub(crate) fn breaker_contended(id: &AgentId) -> String {
    format!("Many tasks of `{id}` end right now, and your order could not be stored. Try again.")
}

#[cfg(test)]
mod tests;
