//! Whether a connected agent is still there, and still hears.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, spread},
    time::Timestamp,
};

use super::{Agent, Binding};

/// How often agents send a heartbeat.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// A heartbeat is written down this often.
pub const SEEN_EVERY: Duration = Duration::from_mins(1);
/// Of an agent that is well, a heartbeat is mostly written down within this long of the one before.
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

/// Whether a heartbeat that is heard at `now` is the one of its minute that is written down: that in
/// the agent's own third of it, of which there is one, whichever execution environment hears it. An
/// agent that beats so that none falls into it is asked for a sign of life.
pub fn is_written_down(agent: &AgentId, now: Timestamp) -> bool {
    let minute = u64::try_from(SEEN_EVERY.as_millis()).unwrap_or(u64::MAX);
    let place = now.as_millis() + u64::from(spread(agent.as_str())) % minute;
    Duration::from_millis(place % minute) < HEARTBEAT_EVERY
}

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

    fn is_written_down_at(secs: u64) -> bool {
        is_written_down(&"a".parse().unwrap(), at(secs))
    }

    /// What the sweeper, `phase` seconds past the minute, finds in an hour of an agent whose
    /// heartbeats come `late` and up to 2 s later, and of them only each `nth`.
    fn found(phase: u64, late: u64, nth: u64) -> Vec<Liveness> {
        let beats = (1..180).filter(|n| n % nth == 0);
        let mut beats = beats.map(|n| n * 20 + late + n * 7 % 3).peekable();
        let (mut found, mut seen, mut asked) = (Vec::new(), 0, false);
        for sweep in (0..60).map(|minute| minute * 60 + phase) {
            while let Some(beat) = beats.next_if(|beat| *beat <= sweep) {
                // The answer to a ping is written down always.
                if std::mem::take(&mut asked) || is_written_down_at(beat) {
                    seen = beat;
                }
            }
            // As if it had been asked for an echo a moment ago.
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
                let written = beats.filter(|beat| is_written_down(&agent, *beat));
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
