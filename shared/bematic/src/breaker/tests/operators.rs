//! Operators: a drained agent gets nothing, a disabled breaker lets all pass, and both end.

use super::*;

fn drained(until: u64) -> BreakerEvent {
    BreakerEvent::Force(Mode::Drained(said(at(until))))
}

fn disabled(until: u64) -> BreakerEvent {
    BreakerEvent::Force(Mode::Disabled(said(at(until))))
}

#[test]
fn a_drained_agent_gets_nothing_until_that_ends() {
    let breaker = after_all(&SEED, &[(0, drained(1000))]);
    let step = breaker.after(allow("t1#1"), &SEED, at(999));
    assert_eq!(step.verdict, Verdict::Denied(Some(at(1000))));
    assert_eq!(breaker.gate().shut_until(at(999)), Some(at(1000)));
    assert_eq!(breaker.gate().shut_until(at(1000)), None);
    assert!(!breaker.gate().is_open(at(1000)), "it is to be asked");
    let step = breaker.after(allow("t1#1"), &SEED, at(1000));
    assert_eq!(step.verdict, Verdict::Allowed);
    assert!(step.next.gate().is_open(at(1000)));
    assert!(is_allowed(
        &after_all(&SEED, &[(0, drained(1000)), (1, BreakerEvent::Resume)]),
        "t1#1",
        &SEED,
        at(2)
    ));
}

#[test]
fn what_a_drained_agent_still_runs_counts() {
    let breaker = after_all(&TOUCHY, &[(0, drained(1000)), (1, failure("t1#1"))]);
    assert_eq!(breaker.state.name(), "open");
    assert!(breaker.gate().shut_until(at(999)).is_some());
    let resumed = breaker.after(BreakerEvent::Resume, &TOUCHY, at(2)).next;
    assert_eq!(
        resumed.gate().shut_until(at(2)),
        Some(at(60_001)),
        "its own timeout"
    );
}

#[test]
fn a_disabled_breaker_lets_all_pass_and_does_not_open() {
    let mut breaker = opened().after(disabled(1000), &TOUCHY, at(1)).next;
    for n in 0..10 {
        assert!(is_allowed(&breaker, &format!("t{n}#2"), &TOUCHY, at(2)));
    }
    assert!(breaker.gate().is_open(at(999)));
    assert!(!breaker.gate().is_open(at(1000)), "it is to be asked");
    assert!(
        !is_allowed(&breaker, "t1#1", &TOUCHY, at(1000)),
        "open as it was"
    );
    breaker = after_all(&TOUCHY, &[(0, disabled(1000)), (1, failure("t1#1"))]);
    assert_eq!(breaker.state, State::Closed);
    let resumed = breaker.after(BreakerEvent::Resume, &TOUCHY, at(2)).next;
    assert_eq!(resumed.state, State::Closed, "until the next failure");
    let failed = resumed.after(failure("t2#1"), &TOUCHY, at(3)).next;
    assert_eq!(failed.state.name(), "open");
}

#[test]
fn an_operator_s_note_is_cut_to_size() {
    let mode = Mode::Drained(Override {
        note: "ä".repeat(10_000),
        ..said(at(1))
    });
    let breaker = after_all(&SEED, &[(0, BreakerEvent::Force(mode))]);
    let note = &breaker.mode.operator_override().unwrap().note;
    assert_eq!(note.chars().count(), Override::NOTE_CHARS);
}

#[test]
fn an_agent_s_own_settings_come_before_the_deployment_s() {
    let own = BreakerEvent::Configure(Some(TOUCHY));
    let breaker = after_all(&SEED, &[(0, own)]);
    assert_eq!(breaker.config(&SEED), &TOUCHY);
    let failed = breaker.after(failure("t1#1"), &SEED, at(1)).next;
    assert_eq!(failed.state.name(), "open");
    let taken_away = breaker
        .after(BreakerEvent::Configure(None), &SEED, at(1))
        .next;
    let failed = taken_away.after(failure("t1#1"), &SEED, at(1)).next;
    assert_eq!(failed.state, State::Closed);
}

proptest! {
    #[test]
    fn whatever_happens_a_drained_breaker_denies_and_a_disabled_one_allows(
        config in configs(),
        history in histories(events()),
        drain in any::<bool>(),
        until in START..START + 1_000_000_u64,
    ) {
        let force = if drain { drained(until) } else { disabled(until) };
        let history: History = std::iter::once((0, force)).chain(history).collect();
        let mut over = false;
        live(&config, &history, |turned| {
            // Once ended it does not begin again, even if the clock goes back.
            over |= turned.now >= at(until);
            if !over && matches!(turned.event, BreakerEvent::Allow(..)) {
                prop_assert_eq!(turned.step.verdict == Verdict::Allowed, !drain);
            }
            prop_assert_eq!(turned.step.next.mode == Mode::Automatic, over);
            Ok(())
        })?;
    }
}
