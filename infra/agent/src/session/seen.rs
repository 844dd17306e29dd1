//! Which runs were answered, and how: a TASK_SUBMIT may come any number of times.

use std::collections::{HashMap, VecDeque};

use crate::run_key::RunKey;

/// How many are remembered. A repetition comes within minutes; no agent is offered so many tasks
/// in that time.
const REMEMBERED: usize = 4096;

/// What a TASK_SUBMIT was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The task was taken.
    Accepted,
    /// It was not.
    Refused {
        /// Why.
        reason: String,
        /// What the cloud may do with it.
        next: Next,
    },
}

/// What may become of a task that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It may be offered again, and this offer does not count: nobody looked at the task.
    Untouched,
    /// It may be offered again.
    Again,
    /// Offering it again would not help.
    Never,
}

impl Next {
    /// Whether it may be offered again.
    pub(super) fn is_retryable(self) -> bool {
        self != Self::Never
    }
}

/// The latest answers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    order: VecDeque<RunKey>,
    answers: HashMap<RunKey, Answer>,
}

impl Seen {
    /// Remembers an answer, or the one that replaces it.
    pub(super) fn remember(&mut self, run: RunKey, answer: Answer) {
        if self.answers.insert(run, answer).is_none() {
            self.order.push_back(run);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }

    /// What was answered.
    pub(super) fn answer(&self, run: RunKey) -> Option<&Answer> {
        self.answers.get(&run)
    }
}

#[cfg(test)]
mod tests {
    use bematic_protocol::ids::TaskId;

    use super::*;

    fn run(number: u128) -> RunKey {
        RunKey {
            task: TaskId::new(uuid::Uuid::from_u128(number)),
            attempt: None,
        }
    }

    #[test]
    fn the_latest_are_remembered_and_the_oldest_forgotten() {
        let mut seen = Seen::default();
        for number in 0..=REMEMBERED as u128 {
            seen.remember(run(number), Answer::Accepted);
        }
        assert_eq!(seen.answer(run(0)), None);
        assert_eq!(seen.answer(run(1)), Some(&Answer::Accepted));
        assert_eq!(seen.answers.len(), REMEMBERED);
    }
}
