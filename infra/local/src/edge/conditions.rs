//! The network conditions of one connection, as its URL asks for them: `?disturb=seed:42,reorder:0.2,cut:0.01`.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::delayed::Delay;

/// The number of later messages that pass a reordered one, at most.
const MAX_REORDER_DISTANCE: u8 = 4;
/// The time that a reordered message is held back at most for later ones, of which there may be none.
const MAX_REORDER_HOLD: Duration = Duration::from_millis(500);
/// The delay of a late message, at most: below the protocol's deadlines, so that it alone ends nothing.
const MAX_MESSAGE_DELAY: Duration = Duration::from_secs(2);

/// How long a connection may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionTimeLimits {
    /// Without a message either way. Pings do not count: AWS does not say that they do.
    pub(crate) idle: Duration,
    /// In all.
    pub(crate) lifetime: Duration,
}

impl Default for ConnectionTimeLimits {
    /// API Gateway's own, which cannot be raised.
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            lifetime: Duration::from_hours(2),
        }
    }
}

/// The network conditions of one connection. The probabilities, from 0 to 1, apply to each message, either way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct NetworkConditions {
    /// The same seed disturbs the same messages of a connection in the same way.
    pub(super) seed: u64,
    reorder: f64,
    double: f64,
    delay: f64,
    drop: f64,
    /// The message does not come, and the connection is gone, without a close frame to either side.
    cut: f64,
    pub(super) limits: ConnectionTimeLimits,
}

impl NetworkConditions {
    /// Parses `name:value` pairs with commas between them. `limits` apply unless the text has others.
    pub(super) fn parse(text: &str, limits: ConnectionTimeLimits) -> Result<Self> {
        let mut conditions = Self {
            limits,
            ..Self::default()
        };
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once(':').with_context(|| {
                format!("disturb wants name:value pairs with commas between them; {pair:?} is none")
            })?;
            let (name, value) = (name.trim(), value.trim());
            let wants = |wanted| anyhow!("disturb wants {wanted} for {name}, not {value:?}");
            let number = value.parse::<f64>().ok();
            let probability = || {
                number
                    .filter(|number| (0.0..=1.0).contains(number))
                    .ok_or_else(|| wants("a probability from 0 to 1"))
            };
            let seconds = || {
                number
                    .and_then(|number| Duration::try_from_secs_f64(number).ok())
                    .filter(|duration| !duration.is_zero())
                    .ok_or_else(|| wants("a number of seconds above 0"))
            };
            match name {
                "seed" => conditions.seed = value.parse().map_err(|_| wants("a whole number"))?,
                "reorder" => conditions.reorder = probability()?,
                "double" => conditions.double = probability()?,
                "delay" => conditions.delay = probability()?,
                "drop" => conditions.drop = probability()?,
                "cut" => conditions.cut = probability()?,
                "idle" => conditions.limits.idle = seconds()?,
                "lifetime" => conditions.limits.lifetime = seconds()?,
                _ => bail!(
                    "disturb knows no {name:?}; it knows seed, reorder, double, delay, drop, cut, \
                     idle and lifetime"
                ),
            }
        }
        Ok(conditions)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToCloud,
    ToAgent,
}

/// Decides what happens to the messages of one connection in one direction, by the seed and their number.
#[derive(Debug)]
pub(super) struct MessageDice {
    random: StdRng,
    conditions: NetworkConditions,
    pub(super) direction: Direction,
}

impl MessageDice {
    /// `connection` counts the connections that asked for the same seed: else one that is cut at
    /// its third message would be cut there again whenever it comes back.
    pub(super) fn new(
        conditions: NetworkConditions,
        connection: u64,
        direction: Direction,
    ) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&conditions.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&connection.to_le_bytes());
        bytes[16] = direction as u8;
        Self {
            random: StdRng::from_seed(bytes),
            conditions,
            direction,
        }
    }

    /// Returns the delays of the next message's copies, two at most; `None` if the connection is cut instead.
    /// Everything is drawn for every message, so that no probability changes what is drawn for another kind.
    pub(super) fn next_message_fate(&mut self) -> Option<Vec<Delay>> {
        let cut = self.draw_bool(self.conditions.cut);
        let dropped = self.draw_bool(self.conditions.drop);
        let doubled = self.draw_bool(self.conditions.double);
        let delays = [self.draw_delay(), self.draw_delay()];
        match (cut, dropped, doubled) {
            (true, ..) => None,
            (_, true, _) => Some(Vec::new()),
            (.., true) => Some(delays.to_vec()),
            (.., false) => Some(vec![delays[0]]),
        }
    }

    fn draw_delay(&mut self) -> Delay {
        let reordered = self.draw_bool(self.conditions.reorder);
        let late = self.draw_bool(self.conditions.delay);
        let behind = self.random.random_range(1..=MAX_REORDER_DISTANCE);
        let time = MAX_MESSAGE_DELAY.mul_f64(self.random.random());
        match (reordered, late) {
            (true, _) => Delay {
                time: MAX_REORDER_HOLD,
                behind,
            },
            (false, true) => Delay { time, behind: 0 },
            (false, false) => Delay::default(),
        }
    }

    fn draw_bool(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "reorder:0.3,double:0.3,delay:0.3,drop:0.1,cut:0.05";

    fn parse(text: &str) -> Result<NetworkConditions> {
        NetworkConditions::parse(text, ConnectionTimeLimits::default())
    }

    fn fates(
        text: &str,
        seed: u64,
        connection: u64,
        direction: Direction,
    ) -> Vec<Option<Vec<Delay>>> {
        let conditions = parse(&format!("{text},seed:{seed}")).unwrap();
        let mut dice = MessageDice::new(conditions, connection, direction);
        (0..500).map(|_| dice.next_message_fate()).collect()
    }

    #[test]
    fn every_name_is_parsed() {
        let text = "seed:42,reorder:0.2,double:1,delay:0.3,drop:0.05,cut:0,idle:5,lifetime:0.5";
        let wanted = NetworkConditions {
            seed: 42,
            reorder: 0.2,
            double: 1.0,
            delay: 0.3,
            drop: 0.05,
            cut: 0.0,
            limits: ConnectionTimeLimits {
                idle: Duration::from_secs(5),
                lifetime: Duration::from_millis(500),
            },
        };
        assert_eq!(parse(text).unwrap(), wanted);
        assert_eq!(parse("").unwrap(), NetworkConditions::default());
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
        let limits = ConnectionTimeLimits {
            idle: Duration::from_secs(7),
            lifetime: Duration::from_mins(3),
        };
        let asked = NetworkConditions::parse("idle:5", limits).unwrap().limits;
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
            let copies =
                |fate: &&Option<Vec<Delay>>| fate.as_ref().is_some_and(|copies| of(copies));
            fates.iter().filter(copies).count()
        };
        let cut = fates.iter().filter(|fate| fate.is_none()).count();
        let dropped = count(<[Delay]>::is_empty);
        let doubled = count(|copies| copies.len() == 2);
        let late = count(
            |copies| matches!(copies, [Delay { time, behind: 0 }] if !time.is_zero() && *time <= MAX_MESSAGE_DELAY),
        );
        let behind = count(
            |copies| matches!(copies, [Delay { time, behind: 1..=MAX_REORDER_DISTANCE }] if *time == MAX_REORDER_HOLD),
        );
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
        let doubled = |text| {
            let fates = fates(text, 7, 0, Direction::ToAgent);
            let is_doubled =
                |fate: &Option<Vec<Delay>>| fate.as_ref().is_some_and(|copies| copies.len() == 2);
            fates.iter().map(is_doubled).collect::<Vec<_>>()
        };
        assert_eq!(doubled("double:0.4"), doubled("double:0.4,delay:0.5"));
    }

    #[test]
    fn nothing_happens_unless_asked_for() {
        let calm = || Some(vec![Delay::default()]);
        let fates = fates("", 1, 0, Direction::ToCloud);
        assert!(fates.iter().all(|fate| *fate == calm()), "{fates:?}");
    }
}
