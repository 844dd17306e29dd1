//! What happens to the next message, or the next call: chance, but the same for the same seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::disturb::{Odds, Probability};

/// Later messages that at most come before one that is out of order.
const BEHIND: u8 = 4;
/// How late a message that is late comes at most. Below the deadlines of the protocol, so that
/// lateness alone never ends anything.
const LATE: Duration = Duration::from_secs(2);

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToCloud,
    ToAgent,
}

/// When a copy of a message is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Now,
    /// After so many of the messages that come after it.
    Behind(u8),
    After(Duration),
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It takes the connection with it.
    Cut,
    Dropped,
    Delivered(When),
    Doubled(When, When),
}

/// Decides over the messages of one connection, one way. A decision depends on the seed and on how
/// many messages came before, and on nothing else.
#[derive(Debug)]
pub(super) struct MessageDice {
    random: StdRng,
    odds: Odds,
}

impl MessageDice {
    /// `connection` counts the connections that asked for the same seed: else one that is cut at
    /// its third message would be cut there again whenever it comes back.
    pub(super) fn new(seed: u64, connection: u64, direction: Direction, odds: Odds) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&connection.to_le_bytes());
        bytes[16] = direction as u8;
        Self {
            random: StdRng::from_seed(bytes),
            odds,
        }
    }

    /// The fate of the next message. Everything is drawn for every message, so that the odds of one
    /// kind do not change what is drawn for another.
    pub(super) fn next(&mut self) -> Fate {
        let cut = self.is(self.odds.cut);
        let dropped = self.is(self.odds.drop);
        let doubled = self.is(self.odds.double);
        let (first, second) = (self.when(), self.when());
        match (cut, dropped, doubled) {
            (true, ..) => Fate::Cut,
            (_, true, _) => Fate::Dropped,
            (.., true) => Fate::Doubled(first, second),
            (.., false) => Fate::Delivered(first),
        }
    }

    fn when(&mut self) -> When {
        let reordered = self.is(self.odds.reorder);
        let late = self.is(self.odds.delay);
        let behind = self.random.random_range(1..=BEHIND);
        let after = LATE.mul_f64(self.random.random());
        match (reordered, late) {
            (true, _) => When::Behind(behind),
            (false, true) => When::After(after),
            (false, false) => When::Now,
        }
    }

    fn is(&mut self, probability: Probability) -> bool {
        self.random.random_bool(probability.get())
    }
}

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing happened.
    Before,
    /// It happened, and the answer is lost.
    After,
}

/// Decides over calls.
#[derive(Debug)]
pub(super) struct CallDice {
    random: StdRng,
    failure: Probability,
}

impl CallDice {
    pub(super) fn new(seed: u64, failure: Probability) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            failure,
        }
    }

    /// Whether the next call fails, and when.
    pub(super) fn next(&mut self) -> Option<Failure> {
        let fails = self.random.random_bool(self.failure.get());
        let before = self.random.random_bool(0.5);
        fails.then_some(if before {
            Failure::Before
        } else {
            Failure::After
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Disturbance;

    const ALL: &str = "reorder:0.3,double:0.3,delay:0.3,drop:0.1,cut:0.05";

    fn fates(odds: &str, seed: u64, connection: u64, direction: Direction) -> Vec<Fate> {
        let odds = odds.parse::<Disturbance>().unwrap().odds;
        let mut dice = MessageDice::new(seed, connection, direction, odds);
        (0..500).map(|_| dice.next()).collect()
    }

    #[test]
    fn a_seed_decides_the_same_again_and_another_otherwise() {
        let decided = fates(ALL, 42, 0, Direction::ToCloud);
        assert_eq!(decided, fates(ALL, 42, 0, Direction::ToCloud));
        for other in [
            fates(ALL, 43, 0, Direction::ToCloud),
            fates(ALL, 42, 1, Direction::ToCloud),
            fates(ALL, 42, 0, Direction::ToAgent),
        ] {
            assert_ne!(decided, other);
        }
    }

    #[test]
    fn everything_happens_about_as_often_as_it_should() {
        let fates = fates(ALL, 42, 0, Direction::ToCloud);
        let count = |of: fn(&Fate) -> bool| fates.iter().filter(|fate| of(fate)).count();
        let cut = count(|fate| *fate == Fate::Cut);
        let dropped = count(|fate| *fate == Fate::Dropped);
        let doubled = count(|fate| matches!(fate, Fate::Doubled(..)));
        let late = count(|fate| matches!(fate, Fate::Delivered(When::After(_))));
        let behind = count(|fate| matches!(fate, Fate::Delivered(When::Behind(1..=BEHIND))));
        for (happened, least, most) in [
            (cut, 10, 45),
            (dropped, 25, 75),
            (doubled, 90, 175),
            (late, 40, 120),
            (behind, 60, 150),
        ] {
            assert!(
                (least..=most).contains(&happened),
                "{happened} of {fates:?}"
            );
        }
    }

    #[test]
    fn one_kind_does_not_change_the_others() {
        let doubled = |odds| {
            let fates = fates(odds, 7, 0, Direction::ToAgent);
            let doubled = fates.iter().map(|fate| matches!(fate, Fate::Doubled(..)));
            doubled.collect::<Vec<_>>()
        };
        assert_eq!(doubled("double:0.4"), doubled("double:0.4,delay:0.5"));
    }

    #[test]
    fn nothing_happens_unless_asked_for() {
        let calm = Fate::Delivered(When::Now);
        assert_eq!(fates("", 1, 0, Direction::ToCloud), vec![calm; 500]);
    }

    #[test]
    fn half_of_the_failures_come_before_the_call_and_half_after() {
        let decided = |seed| {
            let mut dice = CallDice::new(seed, Probability::new(0.2).unwrap());
            (0..1000).map(|_| dice.next()).collect::<Vec<_>>()
        };
        let calls = decided(42);
        assert_eq!(calls, decided(42));
        assert_ne!(calls, decided(43));
        let count = |failure| calls.iter().filter(|call| **call == Some(failure)).count();
        let (before, after) = (count(Failure::Before), count(Failure::After));
        assert!(
            (60..140).contains(&before) && (60..140).contains(&after),
            "{before}, {after}"
        );
    }
}
