//! Rules that a trace cannot tell.

use garde::Validate as _;

use super::*;

#[test]
fn the_default_settings_are_the_seed_s() {
    assert_eq!(BreakerConfig::default(), SEED);
    SEED.validate().unwrap();
    // What is left out is as by default.
    let read: BreakerConfig = serde_json::from_str(r#"{"minimumRequestCount":1}"#).unwrap();
    assert_eq!(read, TOUCHY);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = [
        BreakerConfig {
            failure_threshold_percentage: 0,
            ..SEED
        },
        BreakerConfig {
            failure_threshold_percentage: 101,
            ..SEED
        },
        BreakerConfig {
            minimum_request_count: 0,
            ..SEED
        },
        // It would never be reached.
        BreakerConfig {
            minimum_request_count: Window::MAX_REQUIRED_OUTCOMES + 1,
            ..SEED
        },
        BreakerConfig {
            window_size_ms: 0,
            ..SEED
        },
        BreakerConfig {
            success_threshold_count: 0,
            ..SEED
        },
        BreakerConfig {
            half_open_permit_lease_ms: 0,
            ..SEED
        },
        BreakerConfig {
            slow_call_threshold_percentage: 0,
            ..SEED
        },
    ];
    for config in refused {
        assert!(config.validate().is_err(), "{config:?}");
    }
    assert!(Window::MAX_REQUIRED_OUTCOMES as usize <= Window::MAX_OUTCOMES_KEPT);
}

#[test]
fn a_new_breaker_lets_all_pass_and_costs_no_write() {
    let new = Breaker::default();
    let step = new.after(allow("t1#1"), &SEED, at(1));
    assert_eq!((step.verdict, &step.next), (Verdict::Allowed, &new));
    assert!(new.gate() == crate::breaker::Gate::default() && new.gate().is_open(at(1)));
    for event in [
        BreakerEvent::Tick,
        BreakerEvent::Reset,
        BreakerEvent::Resume,
    ] {
        assert_eq!(new.after(event, &SEED, at(1)).next, new);
    }
}

#[test]
fn what_opened_it_is_named() {
    let trip = |breaker: &Breaker| match breaker.state {
        State::Open { trip, .. } | State::HalfOpen { trip, .. } => Some(trip),
        State::Closed => None,
    };
    let rate = Trip::FailureRate {
        failures: 1,
        total: 1,
    };
    assert_eq!(trip(&opened()), Some(rate));
    assert_eq!(
        trip(&probed(&["t1#1"])),
        Some(rate),
        "until it is opened anew"
    );
    let lost = BreakerEvent::Failure("t1#1".into(), FailureKind::Lost, String::new());
    let breaker = probed(&["t1#1"]).after(lost, &TOUCHY, at(60_001)).next;
    assert_eq!(
        trip(&breaker),
        Some(Trip::Probe {
            kind: FailureKind::Lost
        })
    );
    let breaker = probed(&["t1#1"])
        .after(BreakerEvent::Tick, &TOUCHY, at(1_860_000))
        .next;
    assert_eq!(trip(&breaker), Some(Trip::ProbeLost));
    assert_eq!((breaker.since, breaker.incidents), (Some(at(1_860_000)), 1));
    let row = BreakerConfig {
        consecutive_failure_threshold: 2,
        ..SEED
    };
    let breaker = after_all(&row, &[(0, failure("t1#1")), (1, failure("t2#1"))]);
    assert_eq!(trip(&breaker), Some(Trip::Consecutive { failures: 2 }));
    let slow = BreakerConfig {
        slow_call_duration_ms: 1,
        ..TOUCHY
    };
    let took = |id: &str| BreakerEvent::Success(id.into(), Duration::from_millis(1));
    let breaker = after_all(&slow, &[(0, took("t1#1"))]);
    assert_eq!(trip(&breaker), Some(Trip::SlowRate { slow: 1, total: 1 }));
    let probe = breaker.after(allow("t2#1"), &slow, at(60_000)).next;
    let breaker = probe.after(took("t2#1"), &slow, at(60_000)).next;
    assert_eq!(trip(&breaker), Some(Trip::SlowProbe));
}

#[test]
fn the_last_failure_is_kept_cut_to_size() {
    let long = BreakerEvent::Failure("t1#1".into(), FailureKind::AckMissed, "ä".repeat(1000));
    let breaker = after_all(&SEED, &[(5, long)]);
    let last = breaker.last_failure.unwrap();
    assert_eq!((last.at, last.kind), (at(5), FailureKind::AckMissed));
    assert_eq!(last.message.chars().count(), LastFailure::MESSAGE_CHARS);
}

#[test]
fn what_says_nothing_of_the_agent_is_shown_and_counts_for_nothing() {
    let mut breaker = Breaker::default();
    for n in 0..20 {
        let because = [
            IgnoredBecause::Cancelled,
            IgnoredBecause::Refused,
            IgnoredBecause::TaskFault,
        ];
        let event = BreakerEvent::Ignore(format!("t{n}#1"), because[n % 3]);
        let step = breaker.after(event.clone(), &TOUCHY, at(1));
        assert_eq!(step.verdict, Verdict::Ignored(because[n % 3]));
        assert_eq!(
            step.next.after(event, &TOUCHY, at(2)).next,
            step.next,
            "told once"
        );
        breaker = step.next;
    }
    assert_eq!(
        (breaker.state.name(), breaker.window.kept_outcomes().count()),
        ("closed", 0)
    );
    assert_eq!(breaker.ignored.len(), Breaker::IGNORED_KEPT);
    assert_eq!(breaker.ignored.last().unwrap().id, "t19#1");
    // With every connection that ends there may be some of these.
    let undelivered = BreakerEvent::Ignore("t1#2".into(), IgnoredBecause::Undelivered);
    assert_eq!(breaker.after(undelivered, &TOUCHY, at(3)).next, breaker);
}

#[test]
fn a_probe_that_says_nothing_gives_its_permit_back() {
    let all = ["t1#1", "t2#1", "t3#1"];
    for because in [
        IgnoredBecause::Cancelled,
        IgnoredBecause::Refused,
        IgnoredBecause::TaskFault,
        IgnoredBecause::Undelivered,
    ] {
        let breaker = probed(&all);
        assert!(!is_allowed(&breaker, "t4#1", &TOUCHY, at(60_001)));
        let event = BreakerEvent::Ignore("t2#1".into(), because);
        let breaker = breaker.after(event, &TOUCHY, at(60_001)).next;
        assert_eq!(breaker.state.name(), "half-open");
        assert!(is_allowed(&breaker, "t4#1", &TOUCHY, at(60_002)));
    }
}

#[test]
fn a_probe_that_could_not_be_sent_counts_when_it_is_sent_anew() {
    let undelivered = BreakerEvent::Ignore("t2#1".into(), IgnoredBecause::Undelivered);
    let breaker = probed(&["t1#1", "t2#1"])
        .after(failure("t1#1"), &TOUCHY, at(60_001))
        .next;
    let late = breaker.after(success("t2#1"), &TOUCHY, at(60_002));
    assert_eq!(late.verdict, Verdict::Ignored(IgnoredBecause::Overtaken));
    let breaker = breaker.after(undelivered, &TOUCHY, at(60_002)).next;
    let reset = breaker.after(BreakerEvent::Reset, &TOUCHY, at(60_003)).next;
    let sent_anew = reset.after(failure("t2#1"), &TOUCHY, at(60_004));
    assert_eq!(sent_anew.verdict, Verdict::Done);
}

#[test]
fn a_probe_that_is_known_to_run_goes_on() {
    let hour = Duration::from_hours(1);
    let running = |lease| BreakerEvent::Running("t1#1".into(), lease);
    let lease_ends = 60_000 + 1_800_000;
    let breaker = probed(&["t1#1"]);
    // Even if that is only seen when its lease is over.
    for now in [60_001, lease_ends, lease_ends + 5000] {
        let breaker = breaker.after(running(hour), &TOUCHY, at(now)).next;
        assert_eq!(breaker.state.name(), "half-open");
        let lost = now + 3_600_000;
        let before = breaker
            .after(BreakerEvent::Tick, &TOUCHY, at(lost - 1))
            .next;
        assert_eq!(before.state.name(), "half-open");
        let over = breaker.after(BreakerEvent::Tick, &TOUCHY, at(lost)).next;
        assert_eq!(over.state.name(), "open");
    }
    // The settings' lease is the least, and no lease becomes shorter.
    let short = breaker
        .after(running(Duration::ZERO), &TOUCHY, at(60_000))
        .next;
    assert_eq!(short, breaker);
    // Another's goes on alone.
    let two = probed(&["t1#1", "t2#1"])
        .after(running(hour), &TOUCHY, at(100_000))
        .next;
    let over = two.after(BreakerEvent::Tick, &TOUCHY, at(lease_ends)).next;
    assert_eq!(over.state.name(), "open");
}

#[test]
fn a_probe_may_take_as_long_as_its_task_says() {
    let long = BreakerEvent::Allow("t1#1".into(), Duration::from_hours(2));
    let breaker = opened().after(long, &TOUCHY, at(60_000)).next;
    let last = breaker.after(success("t1#1"), &TOUCHY, at(60_000 + 7_199_999));
    assert_eq!(last.verdict, Verdict::Done);
    let late = breaker.after(success("t1#1"), &TOUCHY, at(60_000 + 7_200_000));
    assert_eq!(late.verdict, Verdict::Ignored(IgnoredBecause::Overtaken));
}

#[test]
fn a_busy_agent_s_window_is_exact() {
    let mut breaker = Breaker::default();
    for n in 0..500 {
        let now = at(n);
        breaker = breaker.after(success(&format!("s{n}#1")), &SEED, now).next;
    }
    for n in 500..999 {
        breaker = breaker
            .after(failure(&format!("f{n}#1")), &SEED, at(n))
            .next;
        assert_eq!(breaker.state, State::Closed, "{n}");
    }
    breaker = breaker.after(failure("f999#1"), &SEED, at(999)).next;
    let trip = Trip::FailureRate {
        failures: 500,
        total: 1000,
    };
    assert!(matches!(breaker.state, State::Open { trip: by, .. } if by == trip));
}
