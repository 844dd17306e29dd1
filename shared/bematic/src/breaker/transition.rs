//! The transitions of a breaker.

use std::time::Duration;

use bematic_protocol::time::Timestamp;

use super::{
    Breaker, BreakerConfig, Closed, ClosedBy, Counted, FailureKind, Ignored, IgnoredBecause,
    Incident, LastFailure, Mode, Outcome, Override, Permit, State, Trip,
};

/// An event of a breaker. Attempts are named `task#attempt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerEvent {
    /// Asks whether the attempt may be sent to the agent. The duration is the least lease of its
    /// permit, if it is a probe.
    Allow(String, Duration),
    /// The attempt succeeded, after this duration.
    Success(String, Duration),
    /// The attempt failed, with this message.
    Failure(String, FailureKind, String),
    /// The attempt is over, and that says nothing about the agent.
    Ignore(String, IgnoredBecause),
    /// The attempt is known to run, and may go on for this duration: its permit is extended.
    Running(String, Duration),
    /// An operator resets the breaker.
    Reset,
    /// An operator's order overrides the breaker.
    Force(Mode),
    /// An operator ends the order that overrides the breaker.
    Resume,
    /// An operator gives the breaker settings of its own, or removes them.
    Configure(Option<BreakerConfig>),
    /// Time has passed.
    Tick,
}

/// The result of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The breaker after the event; the same, version included, if nothing has to be written.
    pub next: Breaker,
    /// The verdict on the event.
    pub verdict: Verdict,
}

/// The verdict on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt may be sent to the agent.
    Allowed,
    /// The attempt may not be sent, before this time if that is known.
    Denied(Option<Timestamp>),
    /// The event counted, or was executed.
    Done,
    /// The report did not count.
    Ignored(IgnoredBecause),
}

impl Breaker {
    /// Returns the breaker after `event` at `now`. The settings in `deployment` apply to breakers
    /// that have none of their own.
    pub fn after(&self, event: BreakerEvent, deployment: &BreakerConfig, now: Timestamp) -> Step {
        let config = *self.config(deployment);
        let mut next = self.clone();
        if let BreakerEvent::Running(id, lease) = &event {
            next.renew(id, *lease, &config, now);
        }
        next.apply_time(&config, now);
        let verdict = next.apply(event, &config, now);
        let closed = |breaker: &Self| breaker.state == State::Closed;
        // A closing is announced even if an operator's order leaves the gate as it was.
        let gate_of = |breaker: &Self| (breaker.gate().passage, breaker.incidents);
        if gate_of(&next) != gate_of(self) || closed(&next) != closed(self) {
            next.generation += 1;
        }
        if next != *self {
            next.version += 1;
        }
        Step { next, verdict }
    }

    fn apply(&mut self, event: BreakerEvent, config: &BreakerConfig, now: Timestamp) -> Verdict {
        match event {
            BreakerEvent::Allow(id, lease) => return self.allow(id, lease, config, now),
            BreakerEvent::Success(id, took) => {
                let counted = if config.is_slow(took) {
                    Counted::Slow
                } else {
                    Counted::Success
                };
                return self.count(id, counted, config, now);
            }
            BreakerEvent::Failure(id, kind, message) => {
                let incidents = self.incidents;
                let verdict = self.count(id, Counted::Failure(kind), config, now);
                if verdict == Verdict::Done {
                    let message = message.chars().take(LastFailure::MESSAGE_CHARS).collect();
                    let failure = LastFailure {
                        at: now,
                        kind,
                        message,
                    };
                    if self.incidents > incidents
                        && let Some(incident) = self.recent.last_mut()
                    {
                        incident.failure = Some(failure.clone());
                    }
                    self.last_failure = Some(failure);
                }
                return verdict;
            }
            BreakerEvent::Ignore(id, because) => return self.ignore(id, because, now),
            BreakerEvent::Reset => {
                self.consecutive = 0;
                self.close(ClosedBy::Operator, now);
            }
            BreakerEvent::Force(mode) => self.mode = mode.with_cut_note(),
            BreakerEvent::Resume => self.mode = Mode::Automatic,
            BreakerEvent::Configure(config) => self.config = config,
            BreakerEvent::Running(..) | BreakerEvent::Tick => {}
        }
        Verdict::Done
    }

    /// Applies the passage of time: an operator's order expires, and a probe without an outcome
    /// failed when its permit's lease ended, whenever that is evaluated.
    fn apply_time(&mut self, config: &BreakerConfig, now: Timestamp) {
        let order = self.mode.operator_override();
        if order.is_some_and(|order| order.until <= now) {
            self.mode = Mode::Automatic;
        }
        let State::HalfOpen { permits, .. } = &self.state else {
            return;
        };
        let lost = permits.iter().map(|permit| permit.until).min();
        if let Some(at) = lost.filter(|until| *until <= now) {
            self.open(Trip::ProbeLost, config, at);
        }
    }

    fn renew(&mut self, id: &str, lease: Duration, config: &BreakerConfig, now: Timestamp) {
        let until = now + config.permit_lease().max(lease);
        if let State::HalfOpen { permits, .. } = &mut self.state {
            for permit in permits.iter_mut().filter(|permit| permit.id == id) {
                permit.until = permit.until.max(until);
            }
        }
    }

    fn allow(
        &mut self,
        id: String,
        lease: Duration,
        config: &BreakerConfig,
        now: Timestamp,
    ) -> Verdict {
        match &self.mode {
            Mode::Automatic => {}
            Mode::Drained(Override { until, .. }) => return Verdict::Denied(Some(*until)),
            Mode::Disabled(_) => return Verdict::Allowed,
        }
        match &self.state {
            State::Closed => return Verdict::Allowed,
            State::Open { retry_at, .. } if now < *retry_at => {
                return Verdict::Denied(Some(*retry_at));
            }
            State::Open { trip, .. } => {
                self.state = State::HalfOpen {
                    successes: 0,
                    permits: Vec::new(),
                    trip: *trip,
                };
                self.since = Some(now);
            }
            State::HalfOpen { .. } => {}
        }
        let State::HalfOpen { permits, .. } = &mut self.state else {
            return Verdict::Allowed;
        };
        if permits.iter().any(|permit| permit.id == id) {
            return Verdict::Allowed;
        }
        if permits.len() >= config.success_threshold_count as usize {
            return Verdict::Denied(None);
        }
        let until = now + config.permit_lease().max(lease);
        self.overtaken.retain(|known| *known != id);
        permits.push(Permit { id, until });
        Verdict::Allowed
    }

    fn count(
        &mut self,
        id: String,
        counted: Counted,
        config: &BreakerConfig,
        now: Timestamp,
    ) -> Verdict {
        self.release_permit(&id);
        if self.overtaken.contains(&id) {
            return self.record_ignored(id, IgnoredBecause::Overtaken, now);
        }
        let outcome = Outcome { at: now, counted };
        self.window.add(outcome, config.window(), now);
        if let State::HalfOpen { successes, .. } = &mut self.state {
            match counted {
                Counted::Success => {
                    *successes += 1;
                    if *successes >= config.success_threshold_count {
                        let by = ClosedBy::Probes(*successes);
                        self.consecutive = 0;
                        self.close(by, now);
                    }
                }
                Counted::Slow => self.open(Trip::SlowProbe, config, now),
                Counted::Failure(kind) => self.open(Trip::Probe { kind }, config, now),
            }
        } else if self.state == State::Closed {
            self.consecutive = match counted {
                Counted::Failure(_) => self.consecutive.saturating_add(1),
                Counted::Success | Counted::Slow => 0,
            };
            if let Some(trip) = self.tripped_rule(counted, config, now)
                && !matches!(self.mode, Mode::Disabled(_))
            {
                self.begin_incident(trip, config, now);
                self.open(trip, config, now);
            }
        }
        Verdict::Done
    }

    /// Returns the rule that the newest outcome trips, if there is one.
    fn tripped_rule(
        &self,
        newest: Counted,
        config: &BreakerConfig,
        now: Timestamp,
    ) -> Option<Trip> {
        let (mut total, mut failures, mut slow) = (0, 0, 0);
        for outcome in self.window.counting(config.window(), now) {
            total += 1;
            failures += usize::from(outcome.counted.is_failure());
            slow += usize::from(outcome.counted == Counted::Slow);
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        match newest {
            Counted::Failure(_)
                if config.is_reached(failures, total, config.failure_threshold_percentage) =>
            {
                Some(Trip::FailureRate {
                    failures: number(failures),
                    total: number(total),
                })
            }
            Counted::Failure(_)
                if config.consecutive_failure_threshold > 0
                    && self.consecutive >= config.consecutive_failure_threshold =>
            {
                Some(Trip::Consecutive {
                    failures: self.consecutive,
                })
            }
            Counted::Slow
                if config.is_reached(slow, total, config.slow_call_threshold_percentage) =>
            {
                Some(Trip::SlowRate {
                    slow: number(slow),
                    total: number(total),
                })
            }
            _ => None,
        }
    }

    fn ignore(&mut self, id: String, because: IgnoredBecause, now: Timestamp) -> Verdict {
        let was_out = self.release_permit(&id);
        if because == IgnoredBecause::Undelivered {
            // The same attempt will be sent again, and then its outcome counts.
            self.overtaken.retain(|known| *known != id);
            // This happens with every connection that ends: it is not worth a write.
            if !was_out {
                return Verdict::Ignored(because);
            }
        }
        self.record_ignored(id, because, now)
    }

    fn record_ignored(&mut self, id: String, because: IgnoredBecause, now: Timestamp) -> Verdict {
        let known = |ignored: &Ignored| ignored.id == id && ignored.because == because;
        if !self.ignored.iter().any(known) {
            self.ignored.push(Ignored {
                id,
                at: now,
                because,
            });
            let over = self.ignored.len().saturating_sub(Self::IGNORED_KEPT);
            self.ignored.drain(..over);
        }
        Verdict::Ignored(because)
    }

    /// Releases the attempt's permit, and returns whether it had one.
    fn release_permit(&mut self, id: &str) -> bool {
        let State::HalfOpen { permits, .. } = &mut self.state else {
            return false;
        };
        let place = permits.iter().position(|permit| permit.id == id);
        place.map(|place| permits.remove(place)).is_some()
    }

    fn open(&mut self, trip: Trip, config: &BreakerConfig, at: Timestamp) {
        self.retire_permits();
        self.state = State::Open {
            retry_at: at + config.recovery_timeout(),
            trip,
        };
        self.since = Some(at);
    }

    fn close(&mut self, by: ClosedBy, now: Timestamp) {
        self.retire_permits();
        self.window.empty();
        if self.state != State::Closed {
            if let Some(incident) = self.recent.last_mut() {
                incident.closed.get_or_insert(Closed { at: now, by });
            }
            self.state = State::Closed;
            self.since = Some(now);
        }
    }

    /// Ends a recovery: probes that are still out say nothing about the next one.
    fn retire_permits(&mut self) {
        if let State::HalfOpen { permits, .. } = &mut self.state {
            self.overtaken
                .extend(permits.drain(..).map(|permit| permit.id));
            let over = self.overtaken.len().saturating_sub(Self::PERMITS_KEPT);
            self.overtaken.drain(..over);
        }
    }

    /// The number of incidents that are stored.
    pub const INCIDENTS_KEPT: usize = 3;

    fn begin_incident(&mut self, trip: Trip, config: &BreakerConfig, now: Timestamp) {
        self.incidents += 1;
        self.recent.push(Incident {
            number: self.incidents,
            at: now,
            trip,
            failure: None,
            retry_at: now + config.recovery_timeout(),
            closed: None,
        });
        let over = self.recent.len().saturating_sub(Self::INCIDENTS_KEPT);
        self.recent.drain(..over);
    }
}
