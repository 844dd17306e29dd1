//! The transitions of a breaker.

use std::time::Duration;

use bematic_protocol::time::Timestamp;

use super::{
    Breaker, BreakerConfig, ClosedBy, Counts, FailureKind, IgnoredBecause, IgnoredReport, Incident,
    IncidentEnd, LastFailure, Mode, Outcome, OutcomeKind, Permit, State, Trip,
};

/// An event of a breaker. Attempts are named `task#attempt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerEvent {
    /// Asks whether the attempt may be sent; with the least lease of its permit, if it is a probe.
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
pub struct Transition {
    /// The breaker after the event; the same, version included, if nothing has to be written.
    pub next: Breaker,
    /// The verdict on the event.
    pub verdict: Verdict,
}

/// The verdict on an event: whether an attempt may be sent, or a report or an order took effect.
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
    /// Returns the breaker after `event` at `now`. `deployment` is for breakers without own settings.
    pub fn after(
        &self,
        event: BreakerEvent,
        deployment: &BreakerConfig,
        now: Timestamp,
    ) -> Transition {
        let config = *self.config(deployment);
        let mut next = self.clone();
        if let BreakerEvent::Running(id, lease) = &event {
            next.renew_permit(id, *lease, &config, now);
        }
        next.expire_order_and_permits(&config, now);
        let verdict = next.apply(event, &config, now);
        // A closing is announced even if an operator's order leaves the gate as it was.
        let announced = |it: &Self| (it.gate().permitted, it.incidents, it.state == State::Closed);
        if announced(&next) != announced(self) {
            next.generation += 1;
        }
        if next != *self {
            next.version += 1;
        }
        Transition { next, verdict }
    }

    fn apply(&mut self, event: BreakerEvent, config: &BreakerConfig, now: Timestamp) -> Verdict {
        match event {
            BreakerEvent::Allow(id, lease) => return self.allow(id, lease, config, now),
            BreakerEvent::Success(id, took) => {
                let slow = config.is_slow(took).then_some(OutcomeKind::Slow);
                return self.count(id, slow.unwrap_or(OutcomeKind::Success), config, now);
            }
            BreakerEvent::Failure(id, kind, message) => {
                let incidents = self.incidents;
                let verdict = self.count(id, OutcomeKind::Failure(kind), config, now);
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
            BreakerEvent::Reset => self.close(ClosedBy::Operator, now),
            BreakerEvent::Force(mode) => self.mode = mode.with_cut_note(),
            BreakerEvent::Resume => self.mode = Mode::Automatic,
            BreakerEvent::Configure(config) => self.config = config,
            BreakerEvent::Running(..) | BreakerEvent::Tick => {}
        }
        Verdict::Done
    }

    /// Lets an operator's order expire, and a probe fail whose permit's lease ended.
    fn expire_order_and_permits(&mut self, config: &BreakerConfig, now: Timestamp) {
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

    fn renew_permit(&mut self, id: &str, lease: Duration, config: &BreakerConfig, now: Timestamp) {
        let until = now + config.min_permit_lease().max(lease);
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
        match (&self.mode, &self.state) {
            (Mode::Drained(order), _) => return Verdict::Denied(Some(order.until)),
            (Mode::Disabled(_), _) | (_, State::Closed) => return Verdict::Allowed,
            (_, State::Open { retry_at, .. }) if now < *retry_at => {
                return Verdict::Denied(Some(*retry_at));
            }
            (_, State::Open { trip, .. }) => {
                self.state = State::HalfOpen {
                    successes: 0,
                    permits: Vec::new(),
                    trip: *trip,
                };
                self.since = Some(now);
            }
            (_, State::HalfOpen { .. }) => {}
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
        let until = now + config.min_permit_lease().max(lease);
        self.overtaken.retain(|known| *known != id);
        permits.push(Permit { id, until });
        Verdict::Allowed
    }

    fn count(
        &mut self,
        id: String,
        kind: OutcomeKind,
        config: &BreakerConfig,
        now: Timestamp,
    ) -> Verdict {
        self.release_permit(&id);
        if self.overtaken.contains(&id) {
            return self.record_ignored(id, IgnoredBecause::Overtaken, now);
        }
        self.window
            .add(Outcome { at: now, kind }, config.window_length(), now);
        if let State::HalfOpen { successes, .. } = &mut self.state {
            match kind {
                OutcomeKind::Success => {
                    *successes += 1;
                    if *successes >= config.success_threshold_count {
                        let by = ClosedBy::Probes(*successes);
                        self.close(by, now);
                    }
                }
                OutcomeKind::Slow => self.open(Trip::SlowProbe, config, now),
                OutcomeKind::Failure(kind) => self.open(Trip::Probe { kind }, config, now),
            }
        } else if self.state == State::Closed {
            self.consecutive = match kind {
                OutcomeKind::Failure(_) => self.consecutive.saturating_add(1),
                OutcomeKind::Success | OutcomeKind::Slow => 0,
            };
            if let Some(trip) = self.tripped_rule(kind, config, now)
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
        newest: OutcomeKind,
        config: &BreakerConfig,
        now: Timestamp,
    ) -> Option<Trip> {
        let Counts {
            total,
            failures,
            slow,
        } = self.window.counts(config.window_length(), now);
        match newest {
            OutcomeKind::Failure(_)
                if config.is_percentage_reached(
                    failures,
                    total,
                    config.failure_threshold_percentage,
                ) =>
            {
                Some(Trip::FailureRate { failures, total })
            }
            OutcomeKind::Failure(_)
                if config.consecutive_failure_threshold > 0
                    && self.consecutive >= config.consecutive_failure_threshold =>
            {
                let failures = self.consecutive;
                Some(Trip::Consecutive { failures })
            }
            OutcomeKind::Slow
                if config.is_percentage_reached(
                    slow,
                    total,
                    config.slow_call_threshold_percentage,
                ) =>
            {
                Some(Trip::SlowRate { slow, total })
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
        let known = |ignored: &IgnoredReport| ignored.id == id && ignored.because == because;
        if !self.ignored.iter().any(known) {
            self.ignored.push(IgnoredReport {
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
        self.retire_all_permits();
        self.state = State::Open {
            retry_at: at + config.recovery_timeout(),
            trip,
        };
        self.since = Some(at);
    }

    fn close(&mut self, by: ClosedBy, now: Timestamp) {
        self.retire_all_permits();
        self.window.retire_all_outcomes();
        self.consecutive = 0;
        if self.state != State::Closed {
            if let Some(incident) = self.recent.last_mut() {
                incident.closed.get_or_insert(IncidentEnd { at: now, by });
            }
            self.state = State::Closed;
            self.since = Some(now);
        }
    }

    /// Ends a recovery: probes that are still out say nothing about the next one.
    fn retire_all_permits(&mut self) {
        if let State::HalfOpen { permits, .. } = &mut self.state {
            self.overtaken
                .extend(permits.drain(..).map(|permit| permit.id));
            let over = self
                .overtaken
                .len()
                .saturating_sub(Self::OVERTAKEN_PERMITS_KEPT);
            self.overtaken.drain(..over);
        }
    }

    /// The number of the newest incidents that are stored, for notices.
    pub(crate) const INCIDENTS_KEPT: usize = 3;

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
