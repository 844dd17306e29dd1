//! What holds whatever happens.

use std::collections::BTreeSet;

use super::*;

/// A week: later than whatever a history has begun.
const LATER: Duration = Duration::from_hours(7 * 24);

/// All but what a write counts.
fn unversioned(breaker: &Breaker) -> Breaker {
    Breaker {
        version: 0,
        ..breaker.clone()
    }
}

proptest! {
    #[test]
    fn no_more_permits_are_out_than_successes_are_needed(
        config in configs(), history in histories(events())
    ) {
        live(&config, &history, |turned| {
            if let State::HalfOpen { successes, permits, .. } = &turned.step.next.state {
                prop_assert!(permits.len() <= config.success_threshold_count as usize);
                prop_assert!(*successes < config.success_threshold_count);
                let ids: BTreeSet<_> = permits.iter().map(|permit| &permit.id).collect();
                prop_assert_eq!(ids.len(), permits.len(), "one each");
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_does_not_count_gives_a_permit_back_at_most(
        config in configs(), history in histories(events())
    ) {
        live(&config, &history, |turned| {
            if !matches!(turned.step.verdict, Verdict::Ignored(_)) {
                return Ok(());
            }
            let mut expected = turned.before.after(BreakerEvent::Tick, &config, turned.now).next;
            let mut actual = turned.step.next.clone();
            prop_assert_eq!(expected.state.name(), actual.state.name());
            if let (State::HalfOpen { permits: had, .. }, State::HalfOpen { permits: has, .. }) =
                (&mut expected.state, &mut actual.state)
            {
                prop_assert!(had.len() - has.len() <= 1);
                had.retain(|permit| has.contains(permit));
            }
            prop_assert_eq!(expected.state, actual.state);
            prop_assert_eq!(expected.window, actual.window);
            prop_assert_eq!(expected.consecutive, actual.consecutive);
            prop_assert_eq!(expected.last_failure, actual.last_failure);
            prop_assert_eq!(expected.generation, actual.generation);
            Ok(())
        })?;
    }

    #[test]
    fn a_rate_opens_it_only_if_there_are_enough_outcomes(
        config in configs(), history in histories(events())
    ) {
        live(&config, &history, |turned| {
            let State::Open { trip, .. } = &turned.step.next.state else { return Ok(()) };
            if turned.before.state != State::Closed {
                return Ok(());
            }
            let counted = turned.step.next.window.counting_outcomes(config.window_length(), turned.now);
            let counted: Vec<_> = counted.map(|outcome| outcome.kind).collect();
            let all = u32::try_from(counted.len()).unwrap();
            let (part, total, percentage) = match *trip {
                Trip::FailureRate { failures, total } => {
                    prop_assert!(matches!(turned.event, BreakerEvent::Failure(..)));
                    let known = counted.iter().filter(|it| it.is_failure()).count();
                    prop_assert_eq!(usize::try_from(failures).unwrap(), known);
                    (failures, total, config.failure_threshold_percentage)
                }
                Trip::SlowRate { slow, total } => {
                    prop_assert!(matches!(turned.event, BreakerEvent::Success(..)));
                    let known = counted.iter().filter(|it| **it == OutcomeKind::Slow).count();
                    prop_assert_eq!(usize::try_from(slow).unwrap(), known);
                    (slow, total, config.slow_call_threshold_percentage)
                }
                Trip::Consecutive { failures } => {
                    let threshold = config.consecutive_failure_threshold;
                    prop_assert!(threshold > 0 && failures >= threshold);
                    return Ok(());
                }
                other => return Err(TestCaseError::fail(format!("{other:?} while closed"))),
            };
            prop_assert_eq!(total, all);
            prop_assert!(total >= config.minimum_request_count);
            prop_assert!(part * 100 >= total * percentage);
            Ok(())
        })?;
    }

    #[test]
    fn its_numbers_rise_exactly_with_what_they_count(
        config in configs(), history in histories(all_events())
    ) {
        live(&config, &history, |turned| {
            let (before, next) = (turned.before, &turned.step.next);
            let changed = unversioned(before) != unversioned(next);
            prop_assert_eq!(next.version, before.version + u64::from(changed));
            let permitted = before.gate().permitted != next.gate().permitted;
            let opened = next.incidents - before.incidents;
            let tripped = before.state == State::Closed && next.state.name() == "open";
            prop_assert_eq!(opened, u64::from(tripped));
            let closed = (before.state == State::Closed) != (next.state == State::Closed);
            let rises = permitted || opened > 0 || closed;
            prop_assert_eq!(next.generation, before.generation + u64::from(rises));
            prop_assert_eq!(next.since.is_some(), next.incidents > 0);
            Ok(())
        })?;
    }

    #[test]
    fn an_open_breaker_lets_nothing_pass_before_its_time_and_something_then(
        config in configs(), history in histories(events())
    ) {
        let (breaker, _) = left_by(&config, &history);
        if let State::Open { retry_at, .. } = breaker.state {
            prop_assert_eq!(breaker.gate().shut_until(at(0)), Some(retry_at));
            if let Some(before) = retry_at.as_millis().checked_sub(1) {
                let step = breaker.after(allow("new#1"), &config, at(before));
                prop_assert_eq!(step.verdict, Verdict::Denied(Some(retry_at)));
                prop_assert_eq!(step.next, breaker.clone(), "asking costs nothing");
            }
            let step = breaker.after(allow("new#1"), &config, retry_at);
            prop_assert_eq!(step.verdict, Verdict::Allowed);
            prop_assert_eq!(step.next.state.name(), "half-open");
        }
    }

    #[test]
    fn left_alone_it_is_never_stuck(config in configs(), history in histories(all_events())) {
        let (breaker, latest) = left_by(&config, &history);
        prop_assert!(is_allowed(&breaker, "new#1", &config, latest + LATER));
    }

    #[test]
    fn it_closes_once_enough_probes_have_succeeded(
        config in configs(), history in histories(events())
    ) {
        let (mut breaker, latest) = left_by(&config, &history);
        let now = latest + LATER;
        breaker = breaker.after(BreakerEvent::Tick, &config, now).next;
        let needed = match breaker.state {
            State::Closed => 0,
            State::Open { .. } => config.success_threshold_count,
            State::HalfOpen { successes, .. } => config.success_threshold_count - successes,
        };
        for n in 0..needed {
            prop_assert_ne!(&breaker.state, &State::Closed);
            let id = format!("new{n}#1");
            let step = breaker.after(allow(&id), &config, now);
            prop_assert_eq!(step.verdict, Verdict::Allowed);
            breaker = step.next.after(success(&id), &config, now).next;
        }
        prop_assert_eq!(&breaker.state, &State::Closed);
        if needed > 0 {
            prop_assert_eq!(breaker.window.counting_outcomes(config.window_length(), now).count(), 0);
        }
    }

    #[test]
    fn no_time_is_too_odd(
        config in configs(), history in prop::collection::vec((any::<u64>(), all_events()), 0..40)
    ) {
        let mut breaker = Breaker::default();
        for (millis, event) in history {
            breaker = breaker.after(event, &config, at(millis)).next;
            prop_assert_eq!(breaker.gate().generation, breaker.generation);
        }
    }
}
