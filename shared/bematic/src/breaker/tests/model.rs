//! The rules once more, as naively as possible: all that ever happened is kept and looked through.

use super::*;

enum Naive {
    Closed,
    Open { since: u64 },
    HalfOpen { successes: u32 },
}

/// One outcome: when, and whether it was a failure.
type Entry = (u64, bool);

struct Model {
    config: BreakerConfig,
    state: Naive,
    /// Since it closed last or was reset.
    outcomes: Vec<Entry>,
    overtaken: Vec<String>,
    /// Who is out, and until when.
    out: Vec<(String, u64)>,
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: Naive::Closed,
            outcomes: Vec::new(),
            overtaken: Vec::new(),
            out: Vec::new(),
        }
    }

    fn name(&self) -> &'static str {
        match self.state {
            Naive::Closed => "closed",
            Naive::Open { .. } => "open",
            Naive::HalfOpen { .. } => "half-open",
        }
    }

    fn retry_at(&self) -> Option<u64> {
        match self.state {
            Naive::Open { since } => Some(since + self.config.recovery_timeout_ms),
            _ => None,
        }
    }

    fn turn_to(&mut self, state: Naive) {
        self.overtaken.extend(self.out.drain(..).map(|(id, _)| id));
        if matches!(state, Naive::Closed) {
            self.outcomes.clear();
        }
        self.state = state;
    }

    /// A probe that has not come back when its lease ends has failed.
    fn lose_probes(&mut self, now: u64) {
        let ends = self.out.iter().map(|(_, until)| *until).min();
        if let Some(since) = ends.filter(|until| *until <= now) {
            self.turn_to(Naive::Open { since });
        }
    }

    fn allow(&mut self, id: &str, now: u64) -> bool {
        self.lose_probes(now);
        if let Some(retry_at) = self.retry_at() {
            if now < retry_at {
                return false;
            }
            self.turn_to(Naive::HalfOpen { successes: 0 });
        }
        if matches!(self.state, Naive::Closed) || self.out.iter().any(|(known, _)| known == id) {
            return true;
        }
        let is_free = self.out.len() < self.config.success_threshold_count as usize;
        if is_free {
            let until = now + self.config.half_open_permit_lease_ms;
            self.overtaken.retain(|known| known != id);
            self.out.push((id.to_owned(), until));
        }
        is_free
    }

    fn outcome(&mut self, id: &str, is_failure: bool, now: u64) {
        self.lose_probes(now);
        self.out.retain(|(known, _)| known != id);
        if self.overtaken.iter().any(|known| known == id) {
            return;
        }
        self.outcomes.push((now, is_failure));
        match self.state {
            Naive::Closed if is_failure && (self.rate_trips(now) || self.row_trips()) => {
                self.turn_to(Naive::Open { since: now });
            }
            Naive::Closed | Naive::Open { .. } => {}
            Naive::HalfOpen { .. } if is_failure => self.turn_to(Naive::Open { since: now }),
            Naive::HalfOpen { successes } => {
                let successes = successes + 1;
                self.state = Naive::HalfOpen { successes };
                if successes == self.config.success_threshold_count {
                    self.turn_to(Naive::Closed);
                }
            }
        }
    }

    fn rate_trips(&self, now: u64) -> bool {
        let in_window = |entry: &&Entry| entry.0 + self.config.window_size_ms >= now;
        let total = self.outcomes.iter().filter(in_window).count();
        let failures = self
            .outcomes
            .iter()
            .filter(in_window)
            .filter(|entry| entry.1)
            .count();
        total >= self.config.minimum_request_count as usize
            && failures * 100 >= total * self.config.failure_threshold_percentage as usize
    }

    fn row_trips(&self) -> bool {
        let row = self
            .outcomes
            .iter()
            .rev()
            .take_while(|entry| entry.1)
            .count();
        let threshold = self.config.consecutive_failure_threshold as usize;
        threshold > 0 && row >= threshold
    }
}

proptest! {
    #[test]
    fn it_does_what_the_rules_say(config in configs(), history in histories(work())) {
        let config = BreakerConfig { slow_call_duration_ms: 0, ..config };
        let mut model = Model::new(config);
        live(&config, &history, |turned| {
            let now = turned.now.as_millis();
            let allowed = match turned.event {
                BreakerEvent::Allow(id, _) => model.allow(id, now),
                BreakerEvent::Success(id, _) => {
                    model.outcome(id, false, now);
                    false
                }
                BreakerEvent::Failure(id, ..) => {
                    model.outcome(id, true, now);
                    false
                }
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!(turned.step.verdict == Verdict::Allowed, allowed);
            prop_assert_eq!(turned.step.next.state.name(), model.name());
            let retry_at = match turned.step.next.state {
                State::Open { retry_at, .. } => Some(retry_at.as_millis()),
                _ => None,
            };
            prop_assert_eq!(retry_at, model.retry_at());
            Ok(())
        })?;
    }
}
