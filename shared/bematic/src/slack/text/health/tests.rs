use std::time::Duration;

use super::*;
use crate::agent::Binding;
use crate::breaker::{BreakerEvent, FailureKind, IgnoredBecause, Override};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const CONFIG: BreakerConfig = BreakerConfig {
    failure_threshold_percentage: 50,
    minimum_request_count: 10,
    window_size_ms: 600_000,
    recovery_timeout_ms: 60_000,
    success_threshold_count: 3,
    half_open_permit_lease_ms: 1_800_000,
    consecutive_failure_threshold: 5,
    slow_call_duration_ms: 0,
    slow_call_threshold_percentage: 100,
};

/// What happened, each so many seconds ago.
fn breaker(events: &[(u64, BreakerEvent)]) -> Breaker {
    let new = Breaker::default();
    events.iter().fold(new, |breaker, (ago, event)| {
        let at = NOW - Duration::from_secs(*ago);
        breaker.after(event.clone(), &CONFIG, at).next
    })
}

fn failure(id: &str, message: &str) -> BreakerEvent {
    BreakerEvent::Failure(id.into(), FailureKind::Error, message.into())
}

fn success(id: &str) -> BreakerEvent {
    BreakerEvent::Success(id.into(), Duration::ZERO)
}

fn allow(id: &str) -> BreakerEvent {
    BreakerEvent::Allow(id.into(), Duration::ZERO)
}

fn said(note: &str) -> Override {
    Override {
        by: "U1".into(),
        at: NOW - Duration::from_mins(5),
        until: NOW + Duration::from_mins(90),
        note: note.into(),
    }
}

/// Open for 30 s.
fn open() -> Vec<(u64, BreakerEvent)> {
    let failures = (0..5).map(|n| (30, failure(&format!("f#{n}"), "no space left")));
    failures.collect()
}

fn agent(name: &str) -> Agent {
    let connection = Binding::new("c".parse().unwrap(), NOW, None);
    Agent {
        connection: Some(connection),
        ..Agent::new(name.parse().unwrap(), NOW - Duration::from_hours(2))
    }
}

fn health_of_one<'a>(
    agent: &'a Agent,
    breaker: &'a Breaker,
    config: BreakerConfig,
) -> AgentHealth<'a> {
    AgentHealth {
        agent,
        config,
        breaker,
    }
}

fn detail(breaker: &Breaker) -> String {
    health_details(&health_of_one(&agent("box"), breaker, CONFIG), NOW)
}

#[test]
fn an_agent_that_does_well_is_told_how_far_it_is_from_not_doing_so() {
    let breaker = breaker(&[
        (420, success("a#1")),
        (410, failure("b#1", "`rm` <b>failed</b>\nbadly")),
        (
            65,
            BreakerEvent::Ignore("c#1".into(), IgnoredBecause::Cancelled),
        ),
        (60, failure("d#1", "")),
        (59, success("e#1")),
        (3, failure("f#1", "x")),
    ]);
    assert_eq!(
        detail(&breaker),
        ":large_green_circle: `box` is *closed* for 2 h. `··▁█····█▅`\n\
         *What opens it*\n\
         • failures: 60 % of 5 outcomes in the last 10 min, opens at 50 % of at least 10\n\
         • failures in a row: 1 of 5\n\
         • slow tasks: off\n\
         *Counted*: 2 × succeeded, 3 × the task failed\n\
         *Not counted*\n\
         • `c#1` – the task was cancelled – 1 min ago\n\
         *Last error* just now: x"
    );
}

#[test]
fn an_open_breaker_is_told_with_what_opened_it_and_when_it_is_tried_again() {
    assert_eq!(
        detail(&breaker(&open())),
        ":red_circle: `box` is *open* for 30 s. `·········█`\n\
         It opened because 5 tasks in a row failed. The first probe is sent in 30 s.\n\
         *What opens it*\n\
         • failures: 100 % of 5 outcomes in the last 10 min, opens at 50 % of at least 10\n\
         • failures in a row: 5 of 5\n\
         • slow tasks: off\n\
         *Counted*: 5 × the task failed\n\
         *Last error* 30 s ago: no space left"
    );
    let mut later = breaker(&open());
    if let State::Open { retry_at, .. } = &mut later.state {
        *retry_at = NOW;
    }
    assert!(detail(&later).contains("The next task is sent as a probe."));
}

#[test]
fn probes_are_told_by_name() {
    let mut events: Vec<_> = open().into_iter().map(|(ago, it)| (ago + 60, it)).collect();
    events.extend([(25, allow("p#1")), (25, allow("q#1")), (20, success("p#1"))]);
    let text = detail(&breaker(&events));
    assert!(
        text.starts_with(":large_yellow_circle: `box` is *half-open* for 25 s. `········█▁`\n"),
        "{text}"
    );
    assert!(
        text.contains("*Probes*: 1 of 3 have succeeded; running: `q#1`\n"),
        "{text}"
    );
}

#[test]
fn an_operators_order_is_shown_with_its_author_and_its_end() {
    let drained = BreakerEvent::Force(Mode::Drained(said("new\n<disk>")));
    let text = detail(&breaker(&[(300, drained)]));
    assert!(
        text.starts_with(
            ":construction: `box` is *drained* for 5 min. `··········`\n\
             Ordered by <@U1> 5 min ago: new &lt;disk&gt;. It ends in 1 h 30 min, or with `/bm agent \
             resume box`.\n*What opens it*"
        ),
        "{text}"
    );
    let disabled = BreakerEvent::Force(Mode::Disabled(said("")));
    let text = detail(&breaker(&[(300, disabled)]));
    assert!(text.contains("is *disabled*"), "{text}");
    assert!(
        text.contains("Ordered by <@U1> 5 min ago. It ends"),
        "{text}"
    );
}

#[test]
fn slow_tasks_are_counted_where_there_is_such_a_rule() {
    let config = BreakerConfig {
        slow_call_duration_ms: 60_000,
        slow_call_threshold_percentage: 80,
        ..CONFIG
    };
    let slow = BreakerEvent::Success("s#1".into(), Duration::from_mins(1));
    let breaker = Breaker::default().after(slow, &config, NOW).next;
    let text = health_details(&health_of_one(&agent("box"), &breaker, config), NOW);
    assert!(
        text.contains("• slow tasks: 100 % of 1 outcome, opens at 80 % of at least 10\n"),
        "{text}"
    );
    assert!(text.contains("*Counted*: 1 × succeeded slowly"), "{text}");
}

#[test]
fn a_failure_without_words_is_told_by_its_kind() {
    let lost = BreakerEvent::Failure("a#1".into(), FailureKind::Lost, " \n".into());
    let breaker = breaker(&[(9, lost)]);
    let expected = "9 s ago: the agent was not heard of again";
    assert!(detail(&breaker).ends_with(&format!("*Last error* {expected}")));
    let (agent, config) = (agent("box"), CONFIG);
    let all = health_list(&[health_of_one(&agent, &breaker, config)], NOW);
    assert!(all.contains(&format!("last error {expected}\n")), "{all}");
}

#[test]
fn every_agent_is_a_line_and_a_spark_line_and_what_needs_a_look_comes_first() {
    let (mut a, b) = (agent("a"), agent("b"));
    a.connection = None;
    let (well, bad) = (breaker(&[(70, success("x#1"))]), breaker(&open()));
    let agents = [
        health_of_one(&a, &well, CONFIG),
        health_of_one(&b, &bad, CONFIG),
    ];
    assert_eq!(
        health_list(&agents, NOW),
        ":red_circle: `b` *open* for 30 s – 5 of 5 failed (100 %)\n      \
         `·········█` last error 30 s ago: no space left\n\
         :large_green_circle: `a` *closed* for 2 h, offline – 0 of 1 failed (0 %)\n      \
         `········▁·`\n\
         One character for each of the last 10 minutes: · no outcome, ▁ all succeeded … █ all \
         failed. `/bm health &lt;agent&gt;` shows more."
    );
    assert!(health_list(&[], NOW).contains("No agent yet"));
}

#[test]
fn of_many_agents_those_that_fail_are_never_left_out() {
    let ids: Vec<_> = (0..200)
        .map(|n| agent(&format!("{}{n:03}", "a".repeat(61))))
        .collect();
    let (well, bad) = (Breaker::default(), breaker(&open()));
    let agents: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, agent)| health_of_one(agent, if n >= 195 { &bad } else { &well }, CONFIG))
        .collect();
    let text = health_list(&agents, NOW);
    assert_eq!(text.matches("*open*").count(), 5, "{text}");
    let shown = text.matches("* for ").count();
    assert!(
        text.contains(&format!("and {} more\n", 200 - shown)),
        "{text}"
    );
    assert!(mrkdwn::utf16_len(&text) <= crate::slack::Message::MAX_SECTION_CHARS);
}

#[test]
fn a_minute_s_sign_is_the_share_that_failed() {
    let minute = |failures: u64, all: u64| {
        let mut breaker = Breaker::default();
        let config = BreakerConfig {
            minimum_request_count: 200,
            consecutive_failure_threshold: 0,
            ..CONFIG
        };
        for n in 0..all {
            let id = format!("t#{n}");
            let event = if n < failures {
                failure(&id, "")
            } else {
                success(&id)
            };
            breaker = breaker.after(event, &config, NOW).next;
        }
        failure_sparkline(&breaker, NOW).pop().unwrap()
    };
    let signs = [(0, 0), (0, 9), (1, 100), (1, 2), (99, 100), (7, 7)];
    let signs: String = signs.iter().map(|(bad, all)| minute(*bad, *all)).collect();
    assert_eq!(signs, "·▁▂▅██");
}

#[test]
fn a_detail_stays_under_slacks_limit_whatever_is_in_it() {
    let long = |n: usize| format!("{}-{n}#1", "t".repeat(40));
    let mut events: Vec<_> = open().into_iter().map(|(ago, it)| (ago + 60, it)).collect();
    for n in 0..20 {
        let because = IgnoredBecause::TaskFault;
        events.push((80, BreakerEvent::Ignore(long(n), because)));
        events.push((25, allow(&long(100 + n))));
    }
    events.push((25, failure("last#1", &"<".repeat(1000))));
    let note = said(&"&".repeat(1000));
    events.push((20, BreakerEvent::Force(Mode::Drained(note))));
    let text = detail(&breaker(&events));
    assert!(mrkdwn::utf16_len(&text) <= crate::slack::Message::MAX_SECTION_CHARS);
    assert!(text.contains("*Last error*"), "{text}");
}
