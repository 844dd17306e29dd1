//! The messages of one direction that wait to be sent on, each until its own time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The delay of one copy of a message; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Delay {
    /// The longest wait.
    pub(super) time: Duration,
    /// The number of later messages that end the wait before; 0 for none.
    pub(super) behind: u8,
}

/// Messages by their due time and their order, each with the number of later messages that may still pass it.
#[derive(Debug)]
pub(super) struct DelayedMessages<M> {
    waiting: BTreeMap<(Instant, u64), (u8, M)>,
    order: u64,
}

impl<M: Clone> DelayedMessages<M> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            order: 0,
        }
    }

    /// Adds the copies of a message. A message that was held back for this one is due after it.
    pub(super) fn put(&mut self, message: &M, copies: &[Delay], now: Instant) {
        let is_passed = |_: &_, (behind, _): &mut (u8, M)| {
            let is_last = *behind == 1;
            *behind = behind.saturating_sub(1);
            is_last
        };
        let passed: Vec<_> = self.waiting.extract_if(.., is_passed).collect();
        let passed = passed
            .into_iter()
            .map(|(_, (_, message))| (now, 0, message));
        let copies = copies.iter();
        let copies = copies.map(|delay| (now + delay.time, delay.behind, message.clone()));
        for (at, behind, message) in copies.chain(passed) {
            self.waiting.insert((at, self.order), (behind, message));
            self.order += 1;
        }
    }

    pub(super) fn next_due_at(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    /// Takes a message that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<M> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove().1)
    }

    /// Takes all messages, in the order in which they would have been due.
    pub(super) fn into_messages(self) -> impl Iterator<Item = M> {
        self.waiting.into_values().map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test begins now, and passes the time on from there"
    )]

    use super::*;

    const NOW: &[Delay] = &[Delay {
        time: Duration::ZERO,
        behind: 0,
    }];
    const HELD: Duration = Duration::from_millis(500);

    fn behind(behind: u8) -> [Delay; 1] {
        [Delay { time: HELD, behind }]
    }

    fn late(time: Duration) -> Delay {
        Delay { time, behind: 0 }
    }

    fn due(waiting: &mut DelayedMessages<char>, now: Instant) -> String {
        std::iter::from_fn(|| waiting.take_due(now)).collect()
    }

    #[test]
    fn undisturbed_messages_stay_in_order() {
        let (mut waiting, now) = (DelayedMessages::new(), Instant::now());
        for message in "abc".chars() {
            waiting.put(&message, NOW, now);
        }
        assert_eq!(due(&mut waiting, now), "abc");
        assert_eq!(waiting.next_due_at(), None);
    }

    #[test]
    fn a_reordered_message_comes_after_those_that_pass_it() {
        let (mut waiting, now) = (DelayedMessages::new(), Instant::now());
        waiting.put(&'a', &behind(2), now);
        waiting.put(&'b', &behind(1), now);
        assert_eq!(due(&mut waiting, now), "");
        waiting.put(&'c', NOW, now);
        waiting.put(&'d', NOW, now);
        assert_eq!(due(&mut waiting, now), "cabd");
    }

    #[test]
    fn a_reordered_message_does_not_wait_for_ever_for_others() {
        let (mut waiting, now) = (DelayedMessages::new(), Instant::now());
        waiting.put(&'a', &behind(1), now);
        assert_eq!(waiting.next_due_at(), Some(now + HELD));
        assert_eq!(due(&mut waiting, now + HELD), "a");
    }

    #[test]
    fn messages_are_late_doubled_or_dropped() {
        let (mut waiting, now) = (DelayedMessages::new(), Instant::now());
        let time = Duration::from_millis(100);
        waiting.put(&'a', &[NOW[0], late(time)], now);
        waiting.put(&'b', &[], now);
        waiting.put(&'c', NOW, now);
        assert_eq!(due(&mut waiting, now), "ac");
        assert_eq!(due(&mut waiting, now + time), "a");
    }

    #[test]
    fn the_rest_is_all_waiting_messages_in_order() {
        let (mut waiting, now) = (DelayedMessages::new(), Instant::now());
        waiting.put(&'a', &[late(Duration::from_secs(2))], now);
        waiting.put(&'b', &behind(3), now);
        waiting.put(&'c', NOW, now);
        assert!(waiting.into_messages().eq(['c', 'b', 'a']));
    }
}
