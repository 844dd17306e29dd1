//! Slack's message timestamps, which are the messages' ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A message's `ts`: Unix microseconds, written `1700000000.000100`. Unique in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ts(pub(crate) u64);

/// The text is not a message's timestamp.
#[derive(Debug, thiserror::Error)]
#[error("a message's ts looks like 1700000000.000100")]
pub struct InvalidTs;

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl FromStr for Ts {
    type Err = InvalidTs;

    fn from_str(text: &str) -> Result<Self, InvalidTs> {
        match text.split_once('.') {
            Some((_, micros)) if micros.len() == 6 => Self::parse_bound(text),
            _ => Err(InvalidTs),
        }
    }
}

impl Ts {
    /// Parses a bound of a page of history, which may have fewer decimals than a message's `ts`.
    pub(crate) fn parse_bound(text: &str) -> Result<Self, InvalidTs> {
        let (secs, micros) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{secs}{micros:0<6}");
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        if secs.is_empty() || micros.len() > 6 || !is_number {
            return Err(InvalidTs);
        }
        digits.parse().map(Ts).map_err(|_| InvalidTs)
    }
}

impl Serialize for Ts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let ts = Ts(1_700_000_000_000_100);
        assert_eq!(ts.to_string(), "1700000000.000100");
        assert_eq!("1700000000.000100".parse::<Ts>().unwrap(), ts);
    }

    #[test]
    fn refuses_text_that_is_not_a_ts() {
        for text in [
            "",
            "1700000000",
            "17.1",
            "a.000000",
            "-1.000000",
            "99999999999999999.000000",
        ] {
            assert!(text.parse::<Ts>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bound_may_be_shorter() {
        assert_eq!(Ts::parse_bound("0").unwrap(), Ts(0));
        assert_eq!(
            Ts::parse_bound("1700000000.5").unwrap(),
            Ts(1_700_000_000_500_000)
        );
        assert!(Ts::parse_bound("soon").is_err());
    }
}
