//! The outcomes of the last while, one by one.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Counted, FailureKind, Outcome};

/// The outcomes of the last while, one by one: the window slides exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Those that count, the oldest first.
    #[serde(default, with = "compact", skip_serializing_if = "are_logged")]
    counted: Vec<Outcome>,
    /// Those from before it was emptied: shown, and not counted twice.
    #[serde(default, with = "compact", skip_serializing_if = "are_logged")]
    past: Vec<Outcome>,
    /// When it was emptied last: what was logged until then does not count.
    #[serde(default, rename = "emptiedAt", skip_serializing_if = "Option::is_none")]
    emptied_at: Option<Timestamp>,
}

impl Window {
    /// Outcomes that are kept, however many there are: the oldest are dropped beyond it. At some 60
    /// bytes each that is 60 KB, for an agent that is done with a task every 0.6 s.
    pub const KEPT: usize = 1000;
    /// The most outcomes that a rule may ask for.
    pub const MOST_REQUIRED: u32 = 1000;
    /// Outcomes that are kept, however old they are: told once more, they do not count again. As
    /// many as there can be probes, which may take longer than the window.
    pub const REMEMBERED: usize = 20;

    /// Adds an outcome, and lets go of what is too old at `now` or too much.
    pub(super) fn add(&mut self, outcome: Outcome, size: std::time::Duration, now: Timestamp) {
        self.counted.push(outcome);
        let mut newer = self.past.len() + self.counted.len();
        for outcomes in [&mut self.past, &mut self.counted] {
            outcomes.retain(|outcome| {
                newer -= 1;
                let is_recent = now.since(outcome.at) <= size;
                newer
                    < if is_recent {
                        Self::KEPT
                    } else {
                        Self::REMEMBERED
                    }
            });
        }
    }

    /// Starts anew; what was in it can still be seen.
    pub(super) fn empty(&mut self, now: Timestamp) {
        if !self.counted.is_empty() {
            self.past.append(&mut self.counted);
            self.emptied_at = Some(now);
        }
    }

    /// Adds successes that are kept by themselves, each in its place.
    pub(super) fn merge(&mut self, logged: impl IntoIterator<Item = (String, Timestamp)>) {
        for (id, at) in logged {
            if self.has(&id) {
                continue;
            }
            let is_past = self.emptied_at.is_some_and(|emptied| at <= emptied);
            let outcomes = if is_past {
                &mut self.past
            } else {
                &mut self.counted
            };
            outcomes.push(Outcome {
                id,
                at,
                counted: Counted::Success,
                logged: true,
            });
        }
        for outcomes in [&mut self.past, &mut self.counted] {
            outcomes.sort_by_key(|outcome| outcome.at);
        }
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

/// What is kept by itself is not stored twice.
fn are_logged(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.logged)
}

/// An outcome as `<milliseconds> <letter> <attempt>`: a map would be three times as long.
mod compact {
    use super::{
        Counted, Deserialize, Deserializer, FailureKind, Outcome, Serialize, Serializer, Timestamp,
    };
    use serde::de::Error as _;

    const LETTERS: [(char, Counted); 6] = [
        ('s', Counted::Success),
        ('w', Counted::Slow),
        ('f', Counted::Failure(FailureKind::Error)),
        ('a', Counted::Failure(FailureKind::AckMissed)),
        ('r', Counted::Failure(FailureKind::Refused)),
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
        let kept_here = outcomes.iter().filter(|outcome| !outcome.logged);
        let texts = kept_here.map(|outcome| {
            let Outcome {
                id, at, counted, ..
            } = outcome;
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
                logged: false,
            })
        };
        texts
            .iter()
            .map(|text| outcome(text).ok_or_else(|| D::Error::custom("no outcome")))
            .collect()
    }
}
