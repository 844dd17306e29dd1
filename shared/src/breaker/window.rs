//! The outcomes of the last while, one by one.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Counted, FailureKind, Outcome};
use crate::time::Timestamp;

/// The outcomes of the last while, one by one: the window slides exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Those that count, the oldest first.
    #[serde(default, with = "compact", skip_serializing_if = "Vec::is_empty")]
    counted: Vec<Outcome>,
    /// Those from before it was emptied: shown, and not counted twice.
    #[serde(default, with = "compact", skip_serializing_if = "Vec::is_empty")]
    past: Vec<Outcome>,
}

impl Window {
    /// Outcomes that are kept, whatever the rate: the oldest are dropped beyond it. At some 55
    /// bytes each that is 11 KB.
    pub const KEPT: usize = 200;
    /// The most outcomes that a rule may ask for.
    pub const MOST_REQUIRED: u32 = 200;

    /// Adds an outcome, and lets go of what is too old at `now` or too much.
    pub(super) fn add(&mut self, outcome: Outcome, size: std::time::Duration, now: Timestamp) {
        self.counted.push(outcome);
        for outcomes in [&mut self.counted, &mut self.past] {
            outcomes.retain(|outcome| now.since(outcome.at) <= size);
        }
        let over = self.counted.len().saturating_sub(Self::KEPT);
        self.counted.drain(..over);
        let room = Self::KEPT - self.counted.len();
        let over = self.past.len().saturating_sub(room);
        self.past.drain(..over);
    }

    /// Starts anew; what was in it can still be seen.
    pub(super) fn empty(&mut self) {
        self.past.append(&mut self.counted);
    }

    /// Whether the attempt has an outcome already.
    pub fn has(&self, id: &str) -> bool {
        self.all().any(|outcome| outcome.id == id)
    }

    /// Those that count at `now`.
    pub fn counting(
        &self,
        size: std::time::Duration,
        now: Timestamp,
    ) -> impl Iterator<Item = &Outcome> {
        let recent = move |outcome: &&Outcome| now.since(outcome.at) <= size;
        self.counted.iter().filter(recent)
    }

    /// All that is known of the last while, those that do not count any more included.
    pub fn all(&self) -> impl Iterator<Item = &Outcome> {
        self.past.iter().chain(&self.counted)
    }
}

/// An outcome as `<milliseconds> <letter> <attempt>`: a map would be three times as long.
mod compact {
    use super::{
        Counted, Deserialize, Deserializer, FailureKind, Outcome, Serialize, Serializer, Timestamp,
    };
    use serde::de::Error as _;

    const LETTERS: [(char, Counted); 5] = [
        ('s', Counted::Success),
        ('w', Counted::Slow),
        ('f', Counted::Failure(FailureKind::Error)),
        ('a', Counted::Failure(FailureKind::AckMissed)),
        ('l', Counted::Failure(FailureKind::Lost)),
    ];

    pub(super) fn serialize<S: Serializer>(
        outcomes: &[Outcome],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let letter = |counted| {
            let known = LETTERS.iter().find(|(_, is)| *is == counted);
            known.map_or('?', |(letter, _)| *letter)
        };
        let texts = outcomes.iter().map(|outcome| {
            let Outcome { id, at, counted } = outcome;
            format!("{} {} {id}", at.as_millis(), letter(*counted))
        });
        texts.collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Outcome>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let outcome = |text: &String| {
            let mut parts = text.splitn(3, ' ');
            let at = parts.next()?.parse().ok()?;
            let letter = parts.next()?;
            let (_, counted) = LETTERS
                .iter()
                .find(|(known, _)| letter.chars().eq([*known]))?;
            Some(Outcome {
                id: parts.next()?.to_owned(),
                at: Timestamp::from_millis(at),
                counted: *counted,
            })
        };
        texts
            .iter()
            .map(|text| outcome(text).ok_or_else(|| D::Error::custom("no outcome")))
            .collect()
    }
}
