//! The disturbance of one connection, as its URL asks for it: `?disturb=seed:42,reorder:0.2,cut:0.01`.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::line::Delay;

/// The number of later messages that pass a reordered one, at most.
const BEHIND: u8 = 4;
/// The time that a reordered message is held back at most for later ones, of which there may be none.
const HELD: Duration = Duration::from_millis(500);
/// The delay of a late message, at most. It is below the deadlines of the protocol, so that lateness
/// alone never ends anything.
const LATE: Duration = Duration::from_secs(2);

/// How long a connection may live. How large its messages may be is in
/// [`bematic_protocol::messages::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Without a message either way. Pings do not count: AWS does not say that they do.
    pub idle: Duration,
    /// In all.
    pub lifetime: Duration,
}

impl Default for Limits {
    /// API Gateway's own, which cannot be raised.
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            lifetime: Duration::from_hours(2),
        }
    }
}

/// The disturbance of one connection. The probabilities, from 0 to 1, apply to each message, either way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Disturbance {
    /// The same seed disturbs the same messages of a connection in the same way.
    pub(super) seed: u64,
    /// Some later messages come before the message.
    reorder: f64,
    /// The message comes twice.
    double: f64,
    /// The message comes late.
    delay: f64,
    /// The message does not come.
    drop: f64,
    /// The message does not come, and the connection is gone, without a close frame to either side.
    cut: f64,
    /// The limits of this connection.
    pub(super) limits: Limits,
}

impl Disturbance {
    /// Parses `name:value` pairs with commas between them. `limits` apply unless the text has others.
    pub(super) fn parse(text: &str, limits: Limits) -> Result<Self> {
        let mut disturbance = Self {
            limits,
            ..Self::default()
        };
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once(':').with_context(|| {
                format!("disturb wants name:value pairs with commas between them; {pair:?} is none")
            })?;
            disturbance.set(name.trim(), value.trim())?;
        }
        Ok(disturbance)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let wants = |wanted| anyhow!("disturb wants {wanted} for {name}, not {value:?}");
        let number = || value.parse::<f64>().ok();
        let probability = || {
            let probability = number().filter(|number| (0.0..=1.0).contains(number));
            probability.ok_or_else(|| wants("a probability from 0 to 1"))
        };
        let seconds = || {
            let duration = number().and_then(|number| Duration::try_from_secs_f64(number).ok());
            let duration = duration.filter(|duration| !duration.is_zero());
            duration.ok_or_else(|| wants("a number of seconds above 0"))
        };
        match name {
            "seed" => self.seed = value.parse().map_err(|_| wants("a whole number"))?,
            "reorder" => self.reorder = probability()?,
            "double" => self.double = probability()?,
            "delay" => self.delay = probability()?,
            "drop" => self.drop = probability()?,
            "cut" => self.cut = probability()?,
            "idle" => self.limits.idle = seconds()?,
            "lifetime" => self.limits.lifetime = seconds()?,
            _ => bail!(
                "disturb knows no {name:?}; it knows seed, reorder, double, delay, drop, cut, idle and \
                 lifetime"
            ),
        }
        Ok(())
    }
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToCloud,
    ToAgent,
}

/// What happens to a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The connection is cut, and the message is lost with it.
    Cut,
    /// The message is handed on once, twice or not at all, each copy after its own delay.
    Copies(Vec<Delay>),
}

/// Decides the fates of the messages of one connection in one direction. A decision depends only on
/// the seed and on the number of messages before.
#[derive(Debug)]
pub(super) struct MessageDice {
    random: StdRng,
    odds: Disturbance,
}

impl MessageDice {
    /// `connection` counts the connections that asked for the same seed: else one that is cut at
    /// its third message would be cut there again whenever it comes back.
    pub(super) fn new(odds: Disturbance, connection: u64, direction: Direction) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&odds.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&connection.to_le_bytes());
        bytes[16] = direction as u8;
        Self {
            random: StdRng::from_seed(bytes),
            odds,
        }
    }

    /// Decides the fate of the next message. Everything is drawn for every message, so that the odds
    /// of one kind do not change what is drawn for another.
    pub(super) fn next(&mut self) -> Fate {
        let cut = self.is(self.odds.cut);
        let dropped = self.is(self.odds.drop);
        let doubled = self.is(self.odds.double);
        let delays = [self.delay(), self.delay()];
        match (cut, dropped, doubled) {
            (true, ..) => Fate::Cut,
            (_, true, _) => Fate::Copies(Vec::new()),
            (.., true) => Fate::Copies(delays.to_vec()),
            (.., false) => Fate::Copies(vec![delays[0]]),
        }
    }

    fn delay(&mut self) -> Delay {
        let reordered = self.is(self.odds.reorder);
        let late = self.is(self.odds.delay);
        let behind = self.random.random_range(1..=BEHIND);
        let time = LATE.mul_f64(self.random.random());
        match (reordered, late) {
            (true, _) => Delay { time: HELD, behind },
            (false, true) => Delay { time, behind: 0 },
            (false, false) => Delay::default(),
        }
    }

    fn is(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "reorder:0.3,double:0.3,delay:0.3,drop:0.1,cut:0.05";

    fn parse(text: &str) -> Result<Disturbance> {
        Disturbance::parse(text, Limits::default())
    }

    fn fates(text: &str, seed: u64, connection: u64, direction: Direction) -> Vec<Fate> {
        let odds = parse(&format!("{text},seed:{seed}")).unwrap();
        let mut dice = MessageDice::new(odds, connection, direction);
        (0..500).map(|_| dice.next()).collect()
    }

    #[test]
    fn every_name_is_parsed() {
        let text = "seed:42,reorder:0.2,double:1,delay:0.3,drop:0.05,cut:0,idle:5,lifetime:0.5";
        let wanted = Disturbance {
            seed: 42,
            reorder: 0.2,
            double: 1.0,
            delay: 0.3,
            drop: 0.05,
            cut: 0.0,
            limits: Limits {
                idle: Duration::from_secs(5),
                lifetime: Duration::from_millis(500),
            },
        };
        assert_eq!(parse(text).unwrap(), wanted);
        assert_eq!(parse("").unwrap(), Disturbance::default());
    }

    #[test]
    fn the_error_names_the_invalid_part() {
        for (text, named) in [
            ("seed", "name:value"),
            ("sed:1", "seed, reorder"),
            ("seed:-1", "a whole number for seed"),
            ("drop:1.5", "from 0 to 1 for drop"),
            ("cut:NaN", "from 0 to 1 for cut"),
            ("idle:0", "above 0 for idle"),
            ("lifetime:1e300", "above 0 for lifetime"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn limits_are_the_defaults_unless_asked_for() {
        let limits = Limits {
            idle: Duration::from_secs(7),
            lifetime: Duration::from_mins(3),
        };
        let asked = Disturbance::parse("idle:5", limits).unwrap().limits;
        assert_eq!(asked.idle, Duration::from_secs(5));
        assert_eq!(asked.lifetime, limits.lifetime);
    }

    #[test]
    fn the_same_seed_decides_the_same_and_another_seed_differs() {
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
        let count = |of: fn(&[Delay]) -> bool| {
            let copies = |fate: &&Fate| matches!(fate, Fate::Copies(copies) if of(copies));
            fates.iter().filter(copies).count()
        };
        let cut = fates.iter().filter(|fate| **fate == Fate::Cut).count();
        let dropped = count(<[Delay]>::is_empty);
        let doubled = count(|copies| copies.len() == 2);
        let late = count(
            |copies| matches!(copies, [Delay { time, behind: 0 }] if !time.is_zero() && *time <= LATE),
        );
        let behind =
            count(|copies| matches!(copies, [Delay { time, behind: 1..=BEHIND }] if *time == HELD));
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
            let is_doubled =
                |fate: &Fate| matches!(fate, Fate::Copies(copies) if copies.len() == 2);
            fates.iter().map(is_doubled).collect::<Vec<_>>()
        };
        assert_eq!(doubled("double:0.4"), doubled("double:0.4,delay:0.5"));
    }

    #[test]
    fn nothing_happens_unless_asked_for() {
        let calm = || Fate::Copies(vec![Delay::default()]);
        let fates = fates("", 1, 0, Direction::ToCloud);
        assert!(fates.iter().all(|fate| *fate == calm()), "{fates:?}");
    }
}
