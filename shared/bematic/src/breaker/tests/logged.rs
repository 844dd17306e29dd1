//! What is kept beside the breaker counts as if it had been told of each.

use super::*;

/// A breaker and what is beside it, as the store keeps them.
#[derive(Default)]
struct Stored {
    breaker: Breaker,
    log: Vec<Logged>,
}

impl Stored {
    fn read(&self) -> Breaker {
        self.breaker.clone().with_logged(self.log.clone())
    }

    fn after(&mut self, event: BreakerEvent, config: &BreakerConfig, now: Timestamp) {
        let next = self.read().after(event, config, now).next;
        let stored = serde_json::to_value(next).unwrap();
        self.breaker = serde_json::from_value(stored).unwrap();
    }

    fn succeed(&mut self, id: &str, config: &BreakerConfig, now: Timestamp) {
        self.finish(success(id), None, config, now);
    }

    /// An end that cannot move it while it lets all work through.
    fn finish(
        &mut self,
        event: BreakerEvent,
        ignored: Option<IgnoredBecause>,
        config: &BreakerConfig,
        now: Timestamp,
    ) {
        let (BreakerEvent::Success(id, _) | BreakerEvent::Ignore(id, _)) = &event else {
            panic!("{event:?}");
        };
        if self.breaker.gate().counts_blindly() {
            let id = id.clone();
            let at = now;
            self.log.push(Logged { id, at, ignored });
        } else {
            self.after(event, config, now);
        }
    }
}

/// What is decided, and what it is decided on.
fn decided(
    breaker: &Breaker,
    config: &BreakerConfig,
    now: Timestamp,
) -> impl PartialEq + Debug + use<> {
    let counting = breaker.window.counting(config.window(), now);
    let counting: Vec<_> = counting.map(|it| (it.id.clone(), it.counted)).collect();
    let closed = breaker.state == State::Closed;
    let Breaker {
        state,
        generation,
        incidents,
        recent,
        consecutive,
        ignored,
        ..
    } = breaker.clone();
    (
        state,
        generation,
        incidents,
        recent,
        closed.then_some(consecutive),
        counting,
        ignored,
    )
}

#[derive(Debug, Clone, Copy)]
enum Did {
    Succeed,
    Fail,
    Stop,
    Allow,
    Reset,
}

proptest! {
    #[test]
    fn what_was_not_told_counts_as_what_was(
        rates in prop::bool::ANY,
        history in prop::collection::vec(
            (
                prop_oneof![
                    4 => Just(Did::Succeed), 4 => Just(Did::Fail), 2 => Just(Did::Stop), 1 => Just(Did::Allow), 1 => Just(Did::Reset)
                ],
                1..200_000_u64,
            ),
            0..60,
        )
    ) {
        let config = if rates {
            BreakerConfig { minimum_request_count: 4, ..SEED }
        } else {
            BreakerConfig { consecutive_failure_threshold: 3, ..SEED }
        };
        let (mut told, mut stored) = (Breaker::default(), Stored::default());
        let mut now = at(1_000_000);
        for (index, (did, later)) in history.into_iter().enumerate() {
            now = now + Duration::from_millis(later);
            let id = format!("t{index}#1");
            let event = match did {
                Did::Succeed => success(&id),
                Did::Fail => failure(&id),
                Did::Stop => BreakerEvent::Ignore(id.clone(), IgnoredBecause::Cancelled),
                Did::Allow => allow(&id),
                Did::Reset => BreakerEvent::Reset,
            };
            told = told.after(event.clone(), &config, now).next;
            match did {
                Did::Succeed => stored.succeed(&id, &config, now),
                Did::Stop => {
                    let because = IgnoredBecause::Cancelled;
                    stored.finish(event, Some(because), &config, now);
                }
                _ => stored.after(event, &config, now),
            }
            prop_assert_eq!(decided(&stored.read(), &config, now), decided(&told, &config, now));
        }
    }
}

#[test]
fn successes_that_are_kept_by_themselves_do_not_make_the_breaker_larger() {
    let mut stored = Stored::default();
    for index in 0..500 {
        stored.succeed(&format!("t{index}#1"), &SEED, at(index));
    }
    stored.after(failure("f#1"), &SEED, at(600));
    assert_eq!(stored.read().window.all().count(), 501);
    let size = serde_json::to_string(&stored.breaker).unwrap().len();
    assert!(size < 500, "{size} bytes");
}

#[test]
fn a_breaker_that_asks_how_long_a_success_took_is_told_of_each() {
    let mut breaker = Breaker::default();
    assert!(breaker.gate().counts_blindly());
    let slow = BreakerConfig {
        slow_call_duration_ms: 1,
        ..SEED
    };
    breaker = breaker
        .after(BreakerEvent::Configure(Some(slow)), &SEED, at(1))
        .next;
    assert!(!breaker.gate().counts_blindly());
}
