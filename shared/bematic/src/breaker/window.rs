//! The window of recent outcomes, stored one by one.

use std::time::Duration;

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FailureKind, Outcome, OutcomeKind};

/// The recent outcomes, one by one: the window slides exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// The outcomes that count, the oldest first.
    #[serde(default, with = "compact", skip_serializing_if = "Vec::is_empty")]
    counted: Vec<Outcome>,
    /// The outcomes from before the window was emptied, which are only shown.
    #[serde(default, with = "compact", skip_serializing_if = "Vec::is_empty")]
    past: Vec<Outcome>,
}

/// The numbers of outcomes that count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub total: u32,
    pub failures: u32,
    pub slow: u32,
}

impl Window {
    /// The number of outcomes that are kept, of up to 15 bytes each.
    pub const MAX_OUTCOMES_KEPT: usize = 1000;
    /// The most outcomes that a rule may require.
    pub(crate) const MAX_REQUIRED_OUTCOMES: u32 = 1000;
    /// The number of outcomes that are kept, however old: for a clock that is behind they may count.
    pub const MIN_OUTCOMES_KEPT: usize = 20;

    /// Adds an outcome, and drops outcomes that are too old at `now` or too many.
    pub(super) fn add(&mut self, outcome: Outcome, size: Duration, now: Timestamp) {
        self.counted.push(outcome);
        let mut newer = self.past.len() + self.counted.len();
        for outcomes in [&mut self.past, &mut self.counted] {
            outcomes.retain(|outcome| {
                newer -= 1;
                let recent = now.since(outcome.at) <= size;
                let kept = if recent {
                    Self::MAX_OUTCOMES_KEPT
                } else {
                    Self::MIN_OUTCOMES_KEPT
                };
                newer < kept
            });
        }
    }

    /// Empties the window; its outcomes can still be shown.
    pub(super) fn retire_all_outcomes(&mut self) {
        self.past.append(&mut self.counted);
    }

    /// Returns the outcomes that count at `now`.
    pub(crate) fn counting_outcomes(
        &self,
        size: Duration,
        now: Timestamp,
    ) -> impl Iterator<Item = &Outcome> {
        let recent = move |outcome: &&Outcome| now.since(outcome.at) <= size;
        self.counted.iter().filter(recent)
    }

    /// Returns the numbers of outcomes that count at `now`.
    pub(crate) fn counts(&self, size: Duration, now: Timestamp) -> Counts {
        let mut counts = Counts::default();
        for outcome in self.counting_outcomes(size, now) {
            counts.total += 1;
            counts.failures += u32::from(outcome.kind.is_failure());
            counts.slow += u32::from(outcome.kind == OutcomeKind::Slow);
        }
        counts
    }

    /// Returns all outcomes that are kept, including those that do not count, or no longer.
    pub fn kept_outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.past.iter().chain(&self.counted)
    }
}

/// The stored form of outcomes: one text, such as `s1780000000000 f1200 s35`, with a letter for the
/// kind of each outcome and the milliseconds since the one before it.
mod compact {
    use serde::de::Error as _;

    use super::{
        Deserialize, Deserializer, FailureKind, Outcome, OutcomeKind, Serialize, Serializer,
        Timestamp,
    };

    const LETTERS: [(char, OutcomeKind); 6] = [
        ('s', OutcomeKind::Success),
        ('w', OutcomeKind::Slow),
        ('f', OutcomeKind::Failure(FailureKind::Error)),
        ('a', OutcomeKind::Failure(FailureKind::AckMissed)),
        ('r', OutcomeKind::Failure(FailureKind::Refused)),
        ('l', OutcomeKind::Failure(FailureKind::Lost)),
    ];

    pub(super) fn serialize<S: Serializer>(
        outcomes: &[Outcome],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        let texts = outcomes.iter().map(|outcome| {
            let known = LETTERS.iter().find(|(_, is)| *is == outcome.kind);
            let letter = known.map_or('?', |(letter, _)| *letter);
            // Clocks differ: an outcome may have been seen before the one that was written first.
            let at = i128::from(outcome.at.as_millis());
            let since = at - std::mem::replace(&mut before, at);
            format!("{letter}{since}")
        });
        texts.collect::<Vec<_>>().join(" ").serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Outcome>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut before = 0_i128;
        let mut outcome = |text: &str| {
            let letter = text.chars().next()?;
            let (_, kind) = LETTERS.iter().find(|(known, _)| *known == letter)?;
            before = before.checked_add(text.get(1..)?.parse().ok()?)?;
            Some(Outcome {
                at: Timestamp::from_millis(u64::try_from(before).ok()?),
                kind: *kind,
            })
        };
        text.split_whitespace()
            .map(|text| {
                let error = || D::Error::custom(format_args!("{text:?} is no outcome"));
                outcome(text).ok_or_else(error)
            })
            .collect()
    }
}
