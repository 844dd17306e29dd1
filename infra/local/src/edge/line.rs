//! The messages that wait to be handed on, each at its own time.

use std::time::Duration;

use tokio::time::Instant;

use super::dice::{Fate, When};

/// How long a message is held back at most for later ones, of which there may be none.
const HELD: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Waiting<M> {
    at: Instant,
    /// Later messages that it still lets pass.
    behind: u8,
    /// Tells apart what is due at once.
    order: u64,
    message: M,
}

/// Messages that wait, one way of a connection.
#[derive(Debug)]
pub(super) struct Line<M> {
    waiting: Vec<Waiting<M>>,
    order: u64,
}

impl<M: Clone> Line<M> {
    pub(super) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            order: 0,
        }
    }

    /// Takes a message in, as its fate is. What it was held back for is due after it.
    pub(super) fn put(&mut self, message: M, fate: Fate, now: Instant) {
        let held = self.waiting.len();
        match fate {
            Fate::Cut | Fate::Dropped => {}
            Fate::Delivered(when) => self.wait(message, when, now),
            Fate::Doubled(first, second) => {
                self.wait(message.clone(), first, now);
                self.wait(message, second, now);
            }
        }
        for waiting in self.waiting.iter_mut().take(held) {
            if waiting.behind > 0 {
                waiting.behind -= 1;
                if waiting.behind == 0 {
                    waiting.at = now;
                    waiting.order = self.order;
                    self.order += 1;
                }
            }
        }
    }

    fn wait(&mut self, message: M, when: When, now: Instant) {
        let (at, behind) = match when {
            When::Now => (now, 0),
            When::Behind(others) => (now + HELD, others),
            When::After(late) => (now + late, 0),
        };
        self.waiting.push(Waiting {
            at,
            behind,
            order: self.order,
            message,
        });
        self.order += 1;
    }

    /// When the next message is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.at).min()
    }

    /// A message that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<M> {
        let first = self.first().filter(|at| self.waiting[*at].at <= now)?;
        Some(self.waiting.remove(first).message)
    }

    /// All that waits, in the order in which it would have been due.
    pub(super) fn rest(&mut self) -> Vec<M> {
        let mut rest = Vec::new();
        while let Some(first) = self.first() {
            rest.push(self.waiting.remove(first).message);
        }
        rest
    }

    fn first(&self) -> Option<usize> {
        let waiting = self.waiting.iter().enumerate();
        let first = waiting.min_by_key(|(_, waiting)| (waiting.at, waiting.order))?;
        Some(first.0)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test begins now, and passes the time on from there"
)]
mod tests {
    use super::*;

    const NOW: Fate = Fate::Delivered(When::Now);

    fn due(line: &mut Line<char>, now: Instant) -> String {
        std::iter::from_fn(|| line.due(now)).collect()
    }

    #[test]
    fn what_is_not_disturbed_goes_on_in_order() {
        let (mut line, now) = (Line::new(), Instant::now());
        for message in "abc".chars() {
            line.put(message, NOW, now);
        }
        assert_eq!(due(&mut line, now), "abc");
        assert_eq!(line.next_at(), None);
    }

    #[test]
    fn a_message_out_of_order_comes_after_those_it_lets_pass() {
        let (mut line, now) = (Line::new(), Instant::now());
        line.put('a', Fate::Delivered(When::Behind(2)), now);
        line.put('b', Fate::Delivered(When::Behind(1)), now);
        assert_eq!(due(&mut line, now), "");
        line.put('c', NOW, now);
        line.put('d', NOW, now);
        assert_eq!(due(&mut line, now), "cabd");
    }

    #[test]
    fn a_message_out_of_order_does_not_wait_for_ever_for_others() {
        let (mut line, now) = (Line::new(), Instant::now());
        line.put('a', Fate::Delivered(When::Behind(1)), now);
        assert_eq!(line.next_at(), Some(now + HELD));
        assert_eq!(due(&mut line, now + HELD), "a");
    }

    #[test]
    fn late_and_double_and_dropped() {
        let (mut line, now) = (Line::new(), Instant::now());
        let late = Duration::from_millis(100);
        line.put('a', Fate::Doubled(When::Now, When::After(late)), now);
        line.put('b', Fate::Dropped, now);
        line.put('c', NOW, now);
        assert_eq!(due(&mut line, now), "ac");
        assert_eq!(due(&mut line, now + late), "a");
    }

    #[test]
    fn at_a_goodbye_all_that_waits_goes_on() {
        let (mut line, now) = (Line::new(), Instant::now());
        line.put(
            'a',
            Fate::Delivered(When::After(Duration::from_secs(2))),
            now,
        );
        line.put('b', Fate::Delivered(When::Behind(3)), now);
        line.put('c', NOW, now);
        assert_eq!(line.rest(), ['c', 'b', 'a']);
        assert_eq!(line.next_at(), None);
    }
}
