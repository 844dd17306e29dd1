//! The liveness of a connected agent: whether it sends, and whether it receives.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, stable_hash},
    time::Timestamp,
};
use strum::IntoStaticStr;

use super::{Agent, Binding, HEARTBEAT_EVERY, HEARTBEAT_RECORD_INTERVAL};

/// The time without a recorded sign of life after which an agent is pinged: longer than
/// [`super::MAX_HEARTBEAT_RECORD_GAP`], or healthy agents would be pinged all the time.
const PING_AFTER_SILENCE: Duration = Duration::from_secs(90);
/// The time without a recorded sign of life after which an agent is offline: it was pinged before.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(150);
/// The longest interval between pings; API Gateway closes a connection that is idle for 10 min.
const MAX_PING_INTERVAL: Duration = Duration::from_mins(4);
/// The time for which an agent that sends may leave a ping without an echo: two repetitions.
const ECHO_TIMEOUT: Duration = Duration::from_secs(150);

/// Whether a heartbeat that is received at `now` is the one of its minute that is recorded: the one
/// in the agent's own third of the minute, whichever execution environment receives it. An agent
/// none of whose heartbeats falls into its third is pinged.
pub(crate) fn should_record_heartbeat(agent: &AgentId, now: Timestamp) -> bool {
    let minute = u64::try_from(HEARTBEAT_RECORD_INTERVAL.as_millis()).unwrap_or(u64::MAX);
    let place = now.as_millis() + u64::from(stable_hash(agent.as_str())) % minute;
    Duration::from_millis(place % minute) < HEARTBEAT_EVERY
}

/// The liveness of a connected agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Liveness {
    /// The agent sends and receives.
    Well,
    /// The agent has to be sent a ping; the `first` unless one before it was not echoed.
    Ping { first: bool },
    /// The agent no longer sends anything.
    Silent,
    /// The agent sends, but does not echo what it is sent.
    Deaf,
}

impl Liveness {
    /// Evaluates an agent on its current connection.
    pub(crate) fn of(agent: &Agent, binding: &Binding, now: Timestamp) -> Self {
        let seen = agent.last_seen.unwrap_or(binding.bound_at);
        let silent = now.since(seen.max(binding.bound_at));
        if silent >= SILENT_AFTER {
            return Self::Silent;
        }
        match binding.oldest_unechoed_ping() {
            Some(pinged) if now.since(pinged) >= ECHO_TIMEOUT => Self::Deaf,
            Some(_) => Self::Ping { first: false },
            None => {
                let asked = binding.pinged_at.unwrap_or(binding.bound_at);
                if silent >= PING_AFTER_SILENCE || now.since(asked) >= MAX_PING_INTERVAL {
                    Self::Ping { first: true }
                } else {
                    Self::Well
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn of(seen: u64, pinged: Option<u64>, echoed: Option<u64>, now: u64) -> Liveness {
        let mut agent = Agent::new("a".parse().unwrap(), at(0));
        agent.last_seen = Some(at(seen));
        let binding = Binding {
            pinged_at: pinged.map(at),
            echoed_at: echoed.map(at),
            ..Binding::new("c".parse().unwrap(), at(0), None)
        };
        Liveness::of(&agent, &binding, at(now))
    }

    #[test]
    fn an_agent_that_says_nothing_is_asked_and_then_given_up() {
        assert_eq!(of(100, None, None, 189), Liveness::Well);
        assert_eq!(of(100, None, None, 190), Liveness::Ping { first: true });
        assert_eq!(
            of(100, Some(190), None, 249),
            Liveness::Ping { first: false }
        );
        assert_eq!(of(100, Some(190), None, 250), Liveness::Silent);
    }

    fn is_recorded_at(secs: u64) -> bool {
        should_record_heartbeat(&"a".parse().unwrap(), at(secs))
    }

    /// Returns the sweeper's findings, `phase` seconds past the minute, over an hour, for an agent
    /// whose heartbeats come `late` and up to 2 s later, and of which only each `nth` arrives.
    fn found(phase: u64, late: u64, nth: u64) -> Vec<Liveness> {
        let beats = (1..180).filter(|n| n % nth == 0);
        let mut beats = beats.map(|n| n * 20 + late + n * 7 % 3).peekable();
        let (mut found, mut seen, mut asked) = (Vec::new(), 0, false);
        for sweep in (0..60).map(|minute| minute * 60 + phase) {
            while let Some(beat) = beats.next_if(|beat| *beat <= sweep) {
                // The echo of a ping is always recorded.
                if std::mem::take(&mut asked) || is_recorded_at(beat) {
                    seen = beat;
                }
            }
            // The echo is assumed to have arrived a moment ago.
            let liveness = of(seen, Some(sweep), Some(sweep), sweep);
            asked = liveness != Liveness::Well;
            found.push(liveness);
        }
        found
    }

    #[test]
    fn one_that_beats_is_well_and_hardly_asked_for_more() {
        for (phase, late) in (0..60).flat_map(|phase| (0..20).map(move |late| (phase, late))) {
            let found = found(phase, late, 1);
            let asked = found.iter().filter(|it| **it != Liveness::Well).count();
            assert!(asked <= 20, "{phase} s, {late} s: {asked} of 60");
            assert!(!found.contains(&Liveness::Silent), "{phase} s, {late} s");
        }
    }

    #[test]
    fn one_most_of_whose_heartbeats_are_lost_is_not_given_up() {
        for (phase, nth) in (0..60).flat_map(|phase| (2..=3).map(move |nth| (phase, nth))) {
            for late in 0..20 {
                let found = found(phase, late, nth);
                assert!(
                    !found.contains(&Liveness::Silent),
                    "{phase} s, {late} s, {nth}"
                );
            }
        }
    }

    #[test]
    fn one_heartbeat_a_minute_is_written_down_wherever_it_is_heard() {
        for agent in ["a", "b", "build-box-17"] {
            let agent = agent.parse().unwrap();
            for late in 0..20 {
                let beats = (0..180).map(|n| at(n * 20 + late));
                let written = beats.filter(|beat| should_record_heartbeat(&agent, *beat));
                assert_eq!(written.count(), 60, "of an hour");
            }
        }
    }

    #[test]
    fn one_that_speaks_but_does_not_hear_is_found_out() {
        assert_eq!(of(235, None, None, 239), Liveness::Well);
        assert_eq!(of(235, None, None, 240), Liveness::Ping { first: true });
        assert_eq!(
            of(300, Some(240), Some(239), 300),
            Liveness::Ping { first: false }
        );
        assert_eq!(of(389, Some(240), None, 390), Liveness::Deaf);
        assert_eq!(of(389, Some(240), Some(240), 390), Liveness::Well);
    }
}
