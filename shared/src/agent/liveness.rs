//! Whether a connected agent is still there, and still hears.

use std::time::Duration;

use super::{Agent, Binding};
use crate::time::Timestamp;

/// How often agents send a heartbeat.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// A heartbeat is written down at most this often.
pub const SEEN_EVERY: Duration = Duration::from_mins(1);
/// Of an agent that is well, a heartbeat is written down at least this often: the next one after
/// [`SEEN_EVERY`] has passed.
pub const SEEN_WITHIN: Duration = SEEN_EVERY.saturating_add(HEARTBEAT_EVERY);
/// Nothing written down for this long: asked for a sign of life. Later than [`SEEN_WITHIN`], or
/// agents that are well would be asked all the time.
const IDLE_AFTER: Duration = Duration::from_secs(90);
/// Nothing written down for this long: offline. The sweeper comes once a minute, and so has asked
/// before.
const SILENT_AFTER: Duration = Duration::from_secs(150);
/// Asked at least this often, well before API Gateway ends a connection that is idle (10 min).
const PING_EVERY: Duration = Duration::from_mins(4);
/// How long an agent that sends may leave a ping unanswered: two that were repeated.
const ECHO_WITHIN: Duration = Duration::from_secs(150);

/// What to make of a connected agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// All is well.
    Well,
    /// To be sent a ping; whether it is the first that is to be echoed.
    Ping {
        /// The one before was echoed, or there was none.
        first: bool,
    },
    /// Says nothing any more.
    Silent,
    /// Speaks, but does not answer what it is sent.
    Deaf,
}

impl Liveness {
    /// Of an agent on its current connection.
    pub fn of(agent: &Agent, binding: &Binding, now: Timestamp) -> Self {
        let seen = agent.last_seen.unwrap_or(binding.bound_at);
        let silent = now.since(seen.max(binding.bound_at));
        if silent >= SILENT_AFTER {
            return Self::Silent;
        }
        match binding.asked_at() {
            Some(pinged) if now.since(pinged) >= ECHO_WITHIN => Self::Deaf,
            Some(_) => Self::Ping { first: false },
            None => {
                let asked = binding.pinged_at.unwrap_or(binding.bound_at);
                if silent >= IDLE_AFTER || now.since(asked) >= PING_EVERY {
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

    /// What the sweeper, `phase` seconds past the minute, finds in an hour of an agent whose
    /// heartbeats come up to 2 s late, and of them only each `nth`.
    fn found(phase: u64, nth: u64) -> Vec<Liveness> {
        let beats = (1..180).filter(|n| n % nth == 0);
        let mut beats = beats.map(|n| n * 20 + n * 7 % 3).peekable();
        let (mut found, mut seen) = (Vec::new(), 0);
        for sweep in (0..60).map(|minute| minute * 60 + phase) {
            while let Some(beat) = beats.next_if(|beat| *beat <= sweep) {
                if beat - seen >= SEEN_EVERY.as_secs() {
                    seen = beat;
                }
            }
            // As if it had been asked for an echo a moment ago.
            found.push(of(seen, Some(sweep), Some(sweep), sweep));
        }
        found
    }

    #[test]
    fn one_that_beats_is_well_and_not_asked_for_more() {
        for phase in 0..60 {
            let found = found(phase, 1);
            assert!(found.iter().all(|it| *it == Liveness::Well), "{phase} s");
        }
    }

    #[test]
    fn one_most_of_whose_heartbeats_are_lost_is_not_given_up() {
        for (phase, nth) in (0..60).flat_map(|phase| (2..=6).map(move |nth| (phase, nth))) {
            let found = found(phase, nth);
            assert!(!found.contains(&Liveness::Silent), "{phase} s, {nth}");
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
