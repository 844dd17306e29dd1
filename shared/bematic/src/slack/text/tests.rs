use std::time::Duration;

use super::*;
use crate::agent::Binding;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn summary(name: &str, online: bool, last_seen: Option<Timestamp>) -> Agent {
    let connection = Binding::new("c".parse().unwrap(), NOW, None);
    Agent {
        connection: online.then_some(connection),
        held: ["t#1".into(), "u#1".into()].into(),
        last_seen,
        ..Agent::new(agent(name), NOW)
    }
}

#[test]
fn the_help_names_every_command_and_can_be_shown_by_slack() {
    let help = help();
    for entry in &command::COMMANDS {
        assert!(help.contains(&format!("`/bm {}", entry.name)), "{help}");
    }
    assert!(
        help.contains(
            "`/bm run [--agent &lt;agent&gt;] [--priority high|normal|low] &lt;prompt&gt;` – give"
        ),
        "{help}"
    );
}

#[test]
fn an_unknown_agent_is_answered_with_the_known_ones() {
    let known = [agent("a"), agent("b")];
    assert_eq!(
        unknown_agent(&agent("c"), &known),
        "There is no agent `c`. Known: `a`, `b`."
    );
    let many: Vec<_> = (0..25).map(|n| agent(&format!("a{n}"))).collect();
    assert!(unknown_agent(&agent("c"), &many).ends_with("`a19` and 5 more."));
    assert!(unknown_agent(&agent("c"), &[]).contains("bematic agent create"));
}

#[test]
fn agents_are_listed_with_what_matters() {
    let agents = [
        summary("a", true, Some(NOW)),
        summary("b", false, Some(NOW - Duration::from_mins(90))),
        summary("c", false, None),
    ];
    assert_eq!(
        super::agents(&agents, NOW),
        ":large_green_circle: `a` online, 2 of 5 running\n\
         :white_circle: `b` offline, last seen 1 h ago\n\
         :white_circle: `c` offline, never seen"
    );
}

#[test]
fn a_list_stays_under_slacks_limit_however_long_it_is() {
    let many: Vec<_> = (0..500)
        .map(|n| summary(&format!("{}{n}", "a".repeat(60)), true, None))
        .collect();
    let text = super::agents(&many, NOW);
    assert!(
        mrkdwn::utf16_len(&text) <= MAX_LIST_CHARS,
        "{}",
        mrkdwn::utf16_len(&text)
    );
    let (_, last) = text.rsplit_once('\n').unwrap();
    assert!(
        last.starts_with("and ") && last.ends_with(" more"),
        "{last}"
    );
}

#[test]
fn what_an_operator_wrote_is_quoted_harmlessly() {
    let error = crate::command::parse("&lt;!channel&gt;").unwrap_err();
    let text = command_error(&error);
    assert!(text.contains("`&lt;!channel&gt;`"), "{text}");
}

#[test]
fn a_prompt_that_is_too_large_is_told_by_how_much() {
    let text = prompt_too_large(140_000, 128 * 1024);
    assert!(text.contains("137 KB") && text.contains("128 KB"), "{text}");
}

#[test]
fn times_are_said_as_people_say_them() {
    let said = |secs| duration(Duration::from_secs(secs));
    assert_eq!(
        [
            said(0),
            said(59),
            said(60),
            said(125),
            said(3720),
            said(100_000)
        ],
        ["0 s", "59 s", "1 min", "2 min 5 s", "1 h 2 min", "1 d 3 h"]
    );
    let before = |secs| ago(NOW - Duration::from_secs(secs), NOW);
    assert_eq!(
        [
            before(0),
            before(59),
            before(60),
            before(7200),
            before(200_000)
        ],
        ["just now", "59 s ago", "1 min ago", "2 h ago", "2 d ago"]
    );
    assert_eq!(ago(NOW + Duration::from_secs(9), NOW), "just now");
}
