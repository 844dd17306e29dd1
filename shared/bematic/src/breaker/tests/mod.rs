//! What the traces of `shared/tests/breaker_traces` do not show: operators, bounds, what is stored,
//! and what holds whatever happens.

mod model;
mod operators;
mod properties;
mod report;
mod rules;
mod stored;

use std::{collections::HashSet, time::Duration};

use proptest::prelude::*;

use super::*;

/// The seed's numbers.
const SEED: BreakerConfig = BreakerConfig {
    failure_threshold_percentage: 50,
    minimum_request_count: 10,
    window_size_ms: 600_000,
    recovery_timeout_ms: 60_000,
    success_threshold_count: 3,
    half_open_permit_lease_ms: 1_800_000,
    consecutive_failure_threshold: 0,
    slow_call_duration_ms: 0,
    slow_call_threshold_percentage: 100,
};

/// The same, but one failure opens it.
const TOUCHY: BreakerConfig = BreakerConfig {
    minimum_request_count: 1,
    ..SEED
};

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn allow(id: &str) -> BreakerEvent {
    BreakerEvent::Allow(id.into(), Duration::ZERO)
}

fn success(id: &str) -> BreakerEvent {
    BreakerEvent::Success(id.into(), Duration::ZERO)
}

fn failure(id: &str) -> BreakerEvent {
    BreakerEvent::Failure(id.into(), FailureKind::Error, "it broke".into())
}

fn said(until: Timestamp) -> Override {
    Override {
        by: "U1".into(),
        at: at(0),
        until,
        note: "it is being repaired".into(),
    }
}

/// The breaker after all of this, each at its time.
fn after_all(config: &BreakerConfig, events: &[(u64, BreakerEvent)]) -> Breaker {
    let new = Breaker::default();
    events.iter().fold(new, |breaker, (millis, event)| {
        breaker.after(event.clone(), config, at(*millis)).next
    })
}

fn is_allowed(breaker: &Breaker, id: &str, config: &BreakerConfig, now: Timestamp) -> bool {
    breaker.after(allow(id), config, now).verdict == Verdict::Allowed
}

/// Open since 0.
fn opened() -> Breaker {
    after_all(&TOUCHY, &[(0, failure("t0#1"))])
}

/// Half-open, with these probes out since 60 000.
fn probed(ids: &[&str]) -> Breaker {
    ids.iter().fold(opened(), |breaker, id| {
        breaker.after(allow(id), &TOUCHY, at(60_000)).next
    })
}

/// Settings whose rules all apply within a few events.
fn configs() -> impl Strategy<Value = BreakerConfig> {
    let rates = (1..=100_u32, 1..6_u32, times());
    let recovery = (times(), 1..4_u32, times());
    let further = (0..4_u32, prop_oneof![Just(0), Just(1000_u64)], 1..=100_u32);
    (rates, recovery, further).prop_map(|(rates, recovery, further)| BreakerConfig {
        failure_threshold_percentage: rates.0,
        minimum_request_count: rates.1,
        window_size_ms: rates.2,
        recovery_timeout_ms: recovery.0,
        success_threshold_count: recovery.1,
        half_open_permit_lease_ms: recovery.2,
        consecutive_failure_threshold: further.0,
        slow_call_duration_ms: further.1,
        slow_call_threshold_percentage: further.2,
    })
}

/// Generates durations, often of whole seconds, as waits are: so that events fall on the exact end
/// of a time limit.
fn times() -> impl Strategy<Value = u64> {
    prop_oneof![(1..30_u64).prop_map(|secs| secs * 1000), 1..60_000_u64]
}

/// Generates attempts: few, so that they are repeated, and fewer than are stored.
fn ids() -> impl Strategy<Value = String> {
    (0..12_u32).prop_map(|n| format!("t{n}#1"))
}

/// Generates waits between events: mostly forward in time, sometimes back.
fn waits() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => 0..2_i64,
        6 => (0..20_i64).prop_map(|secs| secs * 1000),
        1 => 0..60_000_i64,
        1 => -60_000..0_i64,
    ]
}

/// What agents and dispatchers do.
fn work() -> impl Strategy<Value = BreakerEvent> {
    prop_oneof![
        3 => ids().prop_map(|id| allow(&id)),
        2 => (ids(), 0..2000_u64)
            .prop_map(|(id, took)| BreakerEvent::Success(id, Duration::from_millis(took))),
        3 => (ids(), kinds(), "\\PC{0,3}")
            .prop_map(|(id, kind, message)| BreakerEvent::Failure(id, kind, message)),
    ]
}

fn kinds() -> impl Strategy<Value = FailureKind> {
    prop_oneof![
        Just(FailureKind::Error),
        Just(FailureKind::AckMissed),
        Just(FailureKind::Lost)
    ]
}

/// That, and what else may happen under settings that stay.
fn events() -> impl Strategy<Value = BreakerEvent> {
    let because = prop_oneof![
        Just(IgnoredBecause::Cancelled),
        Just(IgnoredBecause::Refused),
        Just(IgnoredBecause::TaskFault),
        Just(IgnoredBecause::Undelivered),
    ];
    prop_oneof![
        12 => work(),
        1 => (ids(), because).prop_map(|(id, because)| BreakerEvent::Ignore(id, because)),
        1 => (ids(), 0..50_000_u64)
            .prop_map(|(id, lease)| BreakerEvent::Running(id, Duration::from_millis(lease))),
        1 => Just(BreakerEvent::Tick),
        1 => Just(BreakerEvent::Reset),
    ]
}

/// All that may happen.
fn all_events() -> impl Strategy<Value = BreakerEvent> {
    let until = START..START + 1_000_000_u64;
    let modes = (until, any::<bool>()).prop_map(|(until, drained)| {
        let said = said(at(until));
        BreakerEvent::Force(if drained {
            Mode::Drained(said)
        } else {
            Mode::Disabled(said)
        })
    });
    let settings = prop::option::of(configs()).prop_map(BreakerEvent::Configure);
    prop_oneof![
        12 => events(),
        1 => modes,
        1 => Just(BreakerEvent::Resume),
        1 => settings,
    ]
}

/// When a history begins: late enough for the clock to go back.
const START: u64 = 10_000_000;

type History = Vec<(i64, BreakerEvent)>;

fn histories(events: impl Strategy<Value = BreakerEvent>) -> impl Strategy<Value = History> {
    prop::collection::vec((waits(), events), 0..60)
}

/// What one event did.
struct Turned<'a> {
    before: &'a Breaker,
    event: &'a BreakerEvent,
    now: Timestamp,
    step: &'a Transition,
}

/// Lets a history happen, and looks at each step. Returns the breaker that is left, and the latest
/// time. An attempt ends once: the transaction that ends it in its task writes the breaker, and
/// what is reported of it once more does not reach the breaker.
fn live(
    config: &BreakerConfig,
    history: &History,
    mut look: impl FnMut(Turned<'_>) -> Result<(), TestCaseError>,
) -> Result<(Breaker, Timestamp), TestCaseError> {
    let (mut breaker, mut ended) = (Breaker::default(), HashSet::new());
    let (mut millis, mut latest) = (START, START);
    for (pause, event) in history {
        if let BreakerEvent::Success(id, _) | BreakerEvent::Failure(id, ..) = event
            && !ended.insert(id.clone())
        {
            continue;
        }
        millis = millis.saturating_add_signed(*pause);
        latest = latest.max(millis);
        let now = at(millis);
        let step = breaker.after(event.clone(), config, now);
        look(Turned {
            before: &breaker,
            event,
            now,
            step: &step,
        })?;
        breaker = step.next;
    }
    Ok((breaker, at(latest)))
}

/// What a history leaves.
fn left_by(config: &BreakerConfig, history: &History) -> (Breaker, Timestamp) {
    live(config, history, |_| Ok(())).unwrap()
}
