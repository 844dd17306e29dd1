//! What is stored: read back as it was, and bounded.

use super::*;

/// An attempt's name at its longest.
fn long_id(n: u32) -> String {
    format!("0198c0de-0000-7000-8000-{n:012}#{}", u32::MAX - n)
}

/// Whatever can be much is as much as it gets.
fn full() -> (Breaker, BreakerConfig) {
    let config = BreakerConfig {
        success_threshold_count: 20,
        consecutive_failure_threshold: u32::MAX,
        failure_threshold_percentage: 100,
        ..TOUCHY
    };
    let message = "\u{1f4a5}".repeat(5000);
    let fail = |n| BreakerEvent::Failure(long_id(n), FailureKind::AckMissed, message.clone());
    let now = at(u64::MAX) + Duration::ZERO;
    let early = at(now.as_millis() - 10_000_000);
    let take = |breaker: &Breaker, event, at| breaker.after(event, &config, at).next;
    let mut breaker = take(
        &Breaker::default(),
        BreakerEvent::Configure(Some(config)),
        early,
    );
    for n in 0..2000 {
        let event = BreakerEvent::Success(long_id(n), Duration::ZERO);
        breaker = take(&breaker, event, early);
    }
    breaker = take(&breaker, BreakerEvent::Reset, early);
    for round in 0..3 {
        breaker = take(&breaker, fail(10_000 + round), early);
        let retry_at = early + config.recovery_timeout() * (round + 1);
        for n in 0..25 {
            let event = BreakerEvent::Allow(long_id(20_000 + 100 * round + n), Duration::ZERO);
            breaker = take(&breaker, event, retry_at);
        }
        assert_eq!(breaker.state.name(), "half-open");
        for n in 0..20 {
            let event = BreakerEvent::Ignore(long_id(30_000 + n), IgnoredBecause::Undelivered);
            breaker = take(&breaker, event, retry_at);
            let event = BreakerEvent::Ignore(long_id(30_000 + n), IgnoredBecause::TaskFault);
            breaker = take(&breaker, event, retry_at);
        }
    }
    let said = Override {
        note: message,
        ..said(now)
    };
    breaker = take(&breaker, BreakerEvent::Force(Mode::Drained(said)), early);
    (breaker, config)
}

#[test]
fn it_stays_small_whatever_happens() {
    let (breaker, _) = full();
    let State::HalfOpen { permits, .. } = &breaker.state else {
        panic!("{:?}", breaker.state)
    };
    assert_eq!(permits.len(), 20);
    assert_eq!(breaker.overtaken.len(), Breaker::OVERTAKEN_PERMITS_KEPT);
    assert_eq!(breaker.ignored.len(), Breaker::IGNORED_KEPT);
    assert_eq!(
        breaker.window.kept_outcomes().count(),
        Window::MAX_OUTCOMES_KEPT
    );
    // An item of DynamoDB has 400 KB at the most.
    let size = serde_json::to_string(&breaker).unwrap().len();
    assert!(size > 3_000 && size < 15_000, "{size} bytes");
}

#[test]
fn ten_outcomes_are_a_few_hundred_bytes() {
    let mut breaker = Breaker::default();
    for n in 0..10 {
        let event = BreakerEvent::Success(long_id(n), Duration::ZERO);
        breaker = breaker.after(event, &SEED, at(1_780_000_000_000)).next;
    }
    let size = serde_json::to_string(&breaker).unwrap().len();
    assert!(size < 200, "{size} bytes");
}

#[test]
fn old_outcomes_are_let_go() {
    let mut breaker = Breaker::default();
    for n in 0..300 {
        breaker = breaker.after(success(&long_id(n)), &SEED, at(1)).next;
    }
    breaker = breaker.after(success("last#1"), &SEED, at(600_002)).next;
    assert_eq!(
        breaker.window.kept_outcomes().count(),
        Window::MIN_OUTCOMES_KEPT
    );
    let counting = breaker
        .window
        .counting_outcomes(SEED.window_length(), at(600_002));
    assert_eq!(counting.count(), 1);
}

#[test]
fn a_breaker_of_before_a_field_was_added_is_read() {
    let read: Breaker = serde_json::from_str(r#"{"version":1,"state":{"name":"closed"}}"#).unwrap();
    assert_eq!(
        read,
        Breaker {
            version: 1,
            ..Breaker::default()
        }
    );
}

#[test]
fn what_is_no_outcome_is_refused() {
    for text in [
        "s",
        "1",
        "x1",
        "s-1",
        "s1 f-2",
        "sf1",
        "s1x",
        "s99999999999999999999999999999999999999999",
    ] {
        let stored = serde_json::json!({ "counted": text });
        assert!(
            serde_json::from_value::<Window>(stored).is_err(),
            "{text:?}"
        );
    }
}

fn assert_read_back(breaker: &Breaker) {
    let json = serde_json::to_string(breaker).unwrap();
    assert_eq!(&serde_json::from_str::<Breaker>(&json).unwrap(), breaker);
    {
        let item: serde_dynamo::Item = serde_dynamo::to_item(breaker).unwrap();
        assert_eq!(
            &serde_dynamo::from_item::<_, Breaker>(item).unwrap(),
            breaker
        );
    }
    let gate = breaker.gate();
    let json = serde_json::to_string(&gate).unwrap();
    assert_eq!(serde_json::from_str::<Gate>(&json).unwrap(), gate);
}

#[test]
fn a_full_breaker_is_read_back() {
    assert_read_back(&full().0);
}

proptest! {
    #[test]
    fn whatever_it_has_come_to_is_read_back(
        config in configs(), history in histories(all_events())
    ) {
        let (breaker, _) = left_by(&config, &history);
        assert_read_back(&breaker);
    }
}
