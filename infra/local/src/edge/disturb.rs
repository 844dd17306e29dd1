//! How one connection is disturbed, as its URL asks for: `?disturb=seed:42,reorder:0.2,cut:0.01`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::limits::Limits;

/// A number from 0 to 1.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Probability(f64);

/// The number is no probability.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no probability: give a number from 0 to 1")]
pub struct BadProbability(pub f64);

impl Probability {
    /// # Errors
    /// If it is not from 0 to 1.
    pub fn new(number: f64) -> Result<Self, BadProbability> {
        if (0.0..=1.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(BadProbability(number))
        }
    }

    /// From 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Debug for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What may happen to a message, either way, and how likely it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Odds {
    /// Some later messages come before it.
    pub reorder: Probability,
    /// It comes twice.
    pub double: Probability,
    /// It comes late.
    pub delay: Probability,
    /// It does not come.
    pub drop: Probability,
    /// It does not come, and the connection is gone, without a goodbye to either side.
    pub cut: Probability,
}

/// How one connection is disturbed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Disturbance {
    /// The same seed disturbs the same messages of a connection in the same way.
    pub seed: u64,
    /// How likely it is.
    pub odds: Odds,
    /// Instead of the idle limit.
    pub idle: Option<Duration>,
    /// Instead of the lifetime limit.
    pub lifetime: Option<Duration>,
}

impl Disturbance {
    /// The limits of the connection, where it asks for none of its own.
    pub(super) fn limits(&self, others: Limits) -> Limits {
        Limits {
            idle: self.idle.unwrap_or(others.idle),
            lifetime: self.lifetime.unwrap_or(others.lifetime),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BadDisturbance> {
        let odds = &mut self.odds;
        match name {
            "seed" => self.seed = value.parse().map_err(|_| BadDisturbance::seed(value))?,
            "reorder" => odds.reorder = probability(name, value)?,
            "double" => odds.double = probability(name, value)?,
            "delay" => odds.delay = probability(name, value)?,
            "drop" => odds.drop = probability(name, value)?,
            "cut" => odds.cut = probability(name, value)?,
            "idle" => self.idle = Some(seconds(name, value)?),
            "lifetime" => self.lifetime = Some(seconds(name, value)?),
            _ => return Err(BadDisturbance::Unknown(name.to_owned())),
        }
        Ok(())
    }
}

/// The parameter `disturb` cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDisturbance {
    /// Not `name:value`.
    #[error("disturb wants name:value pairs with commas between them; {0:?} is none")]
    NoPair(String),
    /// A name that means nothing.
    #[error(
        "disturb knows no {0:?}; it knows seed, reorder, double, delay, drop, cut, idle and lifetime"
    )]
    Unknown(String),
    /// A value that its name cannot have.
    #[error("disturb wants {wanted} for {name}, not {value:?}")]
    Value {
        /// Whose value it is.
        name: String,
        /// What it may be.
        wanted: &'static str,
        /// What it is.
        value: String,
    },
}

impl BadDisturbance {
    fn value(name: &str, wanted: &'static str, value: &str) -> Self {
        Self::Value {
            name: name.to_owned(),
            wanted,
            value: value.to_owned(),
        }
    }

    fn seed(value: &str) -> Self {
        Self::value("seed", "a whole number", value)
    }
}

fn probability(name: &str, value: &str) -> Result<Probability, BadDisturbance> {
    let number: Option<f64> = value.parse().ok();
    number
        .and_then(|number| Probability::new(number).ok())
        .ok_or_else(|| BadDisturbance::value(name, "a probability from 0 to 1", value))
}

fn seconds(name: &str, value: &str) -> Result<Duration, BadDisturbance> {
    let number: Option<f64> = value.parse().ok();
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| BadDisturbance::value(name, "a number of seconds above 0", value))
}

impl FromStr for Disturbance {
    type Err = BadDisturbance;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut disturbance = Self::default();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once(':')
                .ok_or_else(|| BadDisturbance::NoPair(pair.to_owned()))?;
            disturbance.set(name.trim(), value.trim())?;
        }
        Ok(disturbance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_asked_for_is_understood() {
        let text = "seed:42,reorder:0.2,double:1,delay:0.3,drop:0.05,cut:0,idle:5,lifetime:0.5";
        let probability = |number| Probability::new(number).unwrap();
        let wanted = Disturbance {
            seed: 42,
            odds: Odds {
                reorder: probability(0.2),
                double: probability(1.0),
                delay: probability(0.3),
                drop: probability(0.05),
                cut: Probability::default(),
            },
            idle: Some(Duration::from_secs(5)),
            lifetime: Some(Duration::from_millis(500)),
        };
        assert_eq!(text.parse(), Ok(wanted));
        assert_eq!("".parse(), Ok(Disturbance::default()));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (text, named) in [
            ("seed", "name:value"),
            ("sed:1", "seed, reorder"),
            ("seed:-1", "a whole number for seed"),
            ("drop:1.5", "from 0 to 1 for drop"),
            ("cut:NaN", "from 0 to 1 for cut"),
            ("idle:0", "above 0 for idle"),
            ("lifetime:1e300", "above 0 for lifetime"),
        ] {
            let error = text.parse::<Disturbance>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn limits_are_the_others_unless_asked_for() {
        let disturbance: Disturbance = "idle:5".parse().unwrap();
        let limits = disturbance.limits(Limits::default());
        assert_eq!(limits.idle, Duration::from_secs(5));
        assert_eq!(limits.lifetime, Duration::from_hours(2));
    }
}
