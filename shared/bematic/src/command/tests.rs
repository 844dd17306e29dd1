use std::time::Duration;

use bematic_protocol::messages::limits::MAX_PROMPT_CHARS;
use proptest::prelude::*;

use super::*;
use crate::{access::Role, batch::BatchKind};

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";

#[expect(clippy::unnecessary_wraps, reason = "compared with what is parsed")]
fn run(agent: Option<&str>, prompt: &str) -> Result<Command, CommandError> {
    Ok(Command::Run(RunArguments {
        agent: agent.map(|agent| agent.parse().unwrap()),
        priority: Priority::Normal,
        prompt: prompt.to_owned(),
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what is parsed")]
fn status() -> Result<Command, CommandError> {
    Ok(Command::Status(TASK.parse().unwrap()))
}

#[test]
fn a_priority_is_an_option_of_run() {
    let urgent = |text| match parse(text) {
        Ok(Command::Run(RunArguments { priority, .. })) => Ok(priority),
        other => Err(other),
    };
    assert_eq!(urgent("run --priority high x"), Ok(Priority::High));
    assert_eq!(urgent("run —p=LOW x"), Ok(Priority::Low));
    let wrong = parse("run --priority asap x");
    assert_eq!(wrong, Err(CommandError::BadPriority));
}

#[test]
fn one_task_is_cancelled_or_retried_by_its_id() {
    let task = TASK.parse().unwrap();
    assert_eq!(parse(&format!("cancel {TASK}")), Ok(Command::Cancel(task)));
    assert_eq!(parse(&format!("retry `{TASK}`")), Ok(Command::Retry(task)));
    assert_eq!(parse("cancel"), Err(CommandError::NoTaskId));
}

/// What Slack makes of a text that someone typed.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn a_prompt_is_kept_to_the_letter() {
    for prompt in [
        "fix the login bug",
        "say \"hi\"  twice,\n\tthen 'bye'",
        "- first\n- second",
        "-5 °C is cold",
        "why is a < b && b > c?",
        "&amp; is an entity",
        "run --agent b nothing",
        "explain Vec<Option<&str>>",
    ] {
        let text = format!("run {}", escaped(prompt));
        assert_eq!(parse(&text), run(None, prompt), "{prompt}");
    }
    assert_eq!(parse("  RUN \n fix it \n"), run(None, "fix it"));
}

#[test]
fn an_agent_is_named_in_any_usual_spelling() {
    for option in [
        "--agent box-1",
        "--agent=box-1",
        "-a box-1",
        "-a=box-1",
        "--Agent  box-1",
        "—agent box-1",
        "–agent=box-1",
        "—agent “box-1”",
        "--agent 'box-1'",
        "--agent <http://box-1|box-1>",
    ] {
        let text = format!("run {option} fix it");
        assert_eq!(parse(&text), run(Some("box-1"), "fix it"), "{option}");
    }
}

#[test]
fn two_dashes_end_the_options() {
    assert_eq!(parse("run -- --help me"), run(None, "--help me"));
    assert_eq!(parse("run -a b -- -x"), run(Some("b"), "-x"));
    assert_eq!(parse("run — --help me"), run(None, "--help me"));
}

#[test]
fn what_slack_links_becomes_readable() {
    for (slack, plain) in [
        ("<https://x.io/a?b=1&amp;c>", "https://x.io/a?b=1&c"),
        ("<https://x.io|the docs>", "the docs (https://x.io)"),
        ("<http://x.io|x.io>", "x.io"),
        ("<mailto:a@x.io|a@x.io>", "a@x.io"),
        ("<@U1>", "@U1"),
        ("<@U1|ada>", "@ada"),
        ("<#C1|general>", "#general"),
        ("<#C1|>", "#C1"),
        ("<!here>", "@here"),
        ("<!subteam^S1|@team>", "@team"),
        ("<!date^1^{date}|today>", "today"),
        ("a <b and <c d>", "a <b and <c d>"),
        ("std::<T> & &co; &#39;", "std::<T> & &co; &#39;"),
        ("&amp;lt;", "&lt;"),
        ("<", "<"),
        ("<>", "<>"),
    ] {
        assert_eq!(unescape(slack), plain);
    }
}

#[test]
fn commands_without_arguments() {
    for (text, command) in [
        ("", Command::Help),
        ("  ", Command::Help),
        ("help", Command::Help),
        ("Tasks", Command::Tasks),
        ("agents", Command::Agents),
    ] {
        assert_eq!(parse(text), Ok(command));
    }
}

#[test]
fn a_task_is_named_with_or_without_quotes() {
    assert_eq!(parse(&format!("status {TASK}")), status());
    assert_eq!(parse(&format!("status  `{TASK}` ")), status());
    assert_eq!(parse("status"), Err(CommandError::NoTaskId));
    let error = parse("status 42").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`42` is not a task's id; `/bm tasks` lists them."
    );
}

#[test]
fn a_mention_is_a_prompt_whatever_its_first_word() {
    assert_eq!(parse_mention("<@UBOT> fix it"), run(None, "fix it"));
    assert_eq!(parse_mention(" <@UBOT|bot>\nfix it"), run(None, "fix it"));
    assert_eq!(
        parse_mention("<@UBOT> status of the build?"),
        run(None, "status of the build?")
    );
    assert_eq!(parse_mention("hey <@UBOT> hi"), run(None, "hey @UBOT hi"));
    assert_eq!(parse_mention("<@UBOT> Help"), Ok(Command::Help));
    assert_eq!(parse_mention("<@UBOT>"), Err(CommandError::EmptyPrompt));
}

#[test]
fn an_unknown_command_gets_a_suggestion() {
    let say = |text| parse(text).unwrap_err().to_string();
    assert_eq!(
        say("stauts x"),
        "There is no command `stauts`. Did you mean `/bm status`?"
    );
    assert_eq!(
        say("agentz"),
        "There is no command `agentz`. Did you mean `/bm agent`?"
    );
    assert_eq!(
        say("fix the bug"),
        "There is no command `fix`. To give an agent work, write `/bm run fix …`; `/bm help` lists \
         the commands."
    );
}

#[test]
fn a_run_that_cannot_be_is_told_why() {
    let code = |text: &str| parse(text).unwrap_err().code();
    assert_eq!(code("run"), "PROMPT_EMPTY");
    assert_eq!(code("run --agent a"), "PROMPT_EMPTY");
    assert_eq!(code("run --agent"), "AGENT_MISSING");
    assert_eq!(code("run --agent= fix"), "AGENT_MISSING");
    assert_eq!(code("run --agent ../etc fix"), "AGENT_INVALID");
    assert_eq!(code("run --model x fix"), "OPTION_UNKNOWN");
}

#[test]
fn a_prompt_has_a_longest_length_in_characters() {
    let longest = "ä".repeat(MAX_PROMPT_CHARS);
    assert_eq!(parse(&format!("run {longest}")), run(None, &longest));
    assert_eq!(
        parse(&format!("run {longest}ä")),
        Err(CommandError::PromptTooLong {
            chars: MAX_PROMPT_CHARS + 1
        })
    );
}

#[test]
fn every_command_of_the_help_is_one_that_the_parser_knows() {
    for entry in &COMMANDS {
        assert!(
            !matches!(parse(entry.name), Err(CommandError::Unknown { .. })),
            "{}",
            entry.name
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse(&text);
        let _ = parse_mention(&text);
        let _ = parse(&format!("run {text}"));
    }

    #[test]
    fn no_text_of_markup_panics(text in "[-—a-c<>@#!|&;:/^= \n]{0,40}") {
        let _ = parse(&text);
        let _ = parse_mention(&text);
        let _ = parse(&format!("run {text}"));
    }

    #[test]
    fn a_prompt_survives_the_round_trip(prompt in "[^\\s\\-–—](?s:.{0,60})") {
        let prompt = prompt.trim();
        let text = format!("run --agent a {}", escaped(prompt));
        prop_assert_eq!(parse(&text), run(Some("a"), prompt));
    }
}

#[test]
fn what_is_about_all_tasks_says_so() {
    assert_eq!(parse("cancel all"), Ok(Command::Bulk(BatchKind::Cancel)));
    assert_eq!(parse("retry Failed"), Ok(Command::Bulk(BatchKind::Retry)));
    assert_eq!(parse("archive"), Ok(Command::Bulk(BatchKind::Archive)));
    let one = "archive 0198c0de-0000-7000-8000-000000000001";
    assert_eq!(parse(one), Err(CommandError::ArchiveOfOne));
}

#[test]
fn breakers_are_asked_for_and_taken_over() {
    let agent = || {
        "build-box"
            .parse::<bematic_protocol::ids::AgentId>()
            .unwrap()
    };
    let order = |order| Ok(Command::Breaker(agent(), order));
    let hours = Duration::from_hours;
    let drain = |lasts, note: &str| {
        order(BreakerOrder::Drain {
            lasts,
            note: note.to_owned(),
        })
    };
    assert_eq!(parse("health"), Ok(Command::Health(None)));
    let of_one = Command::Health(Some(agent()));
    assert_eq!(parse("health build-box"), Ok(of_one));
    assert_eq!(parse("Health RESET build-box"), order(BreakerOrder::Reset));
    assert_eq!(parse("agent resume build-box"), order(BreakerOrder::Resume));
    assert_eq!(parse("agent drain build-box"), drain(hours(8), ""));
    assert_eq!(
        parse("agent drain build-box --for 2h new disk"),
        drain(hours(2), "new disk")
    );
    assert_eq!(
        parse("agent drain build-box —for 1d"),
        drain(hours(24), ""),
        "as phones write it"
    );
    assert_eq!(
        parse("agent drain build-box for good"),
        drain(hours(8), "for good")
    );
    assert_eq!(
        parse("health disable build-box --for=90m it lies"),
        order(BreakerOrder::Disable {
            lasts: Duration::from_mins(90),
            note: "it lies".to_owned()
        })
    );
    assert_eq!(
        parse("health reset"),
        Ok(Command::Health(Some("reset".parse().unwrap()))),
        "a word alone is an agent"
    );
}

#[test]
fn what_is_no_order_to_a_breaker_is_told_why() {
    let code = |text: &str| parse(text).unwrap_err().code();
    assert_eq!(code("agent"), "SUBCOMMAND_UNKNOWN");
    assert_eq!(code("agent stop build-box"), "SUBCOMMAND_UNKNOWN");
    assert_eq!(code("agent drain"), "AGENT_MISSING");
    assert_eq!(code("health of build-box"), "SUBCOMMAND_UNKNOWN");
    assert_eq!(code("health reset build-box now"), "TOO_MUCH");
    for time in ["", "2", "h", "0m", "8d", "99999999999999999999h", "-1h"] {
        let text = format!("agent drain build-box --for {time}");
        assert_eq!(code(&text), "TIME_INVALID", "{time}");
    }
}

#[test]
fn people_are_named_by_their_ids() {
    let user = || "U024BE7LH".parse().unwrap();
    let role = |role| Ok(Command::SetRole(user(), role));
    assert_eq!(parse("role <@U024BE7LH> admin"), role(Role::Admin));
    assert_eq!(parse("ROLE  <@U024BE7LH|ada>  Viewer "), role(Role::Viewer));
    let audit = |user, [since, until]: [u64; 2]| {
        let [since, until] = [since, until].map(Duration::from_hours);
        Ok(Command::Audit { user, since, until })
    };
    assert_eq!(parse("audit"), audit(None, [24, 0]));
    assert_eq!(
        parse("audit --since=2d --user <@U024BE7LH|ada> --until 1d"),
        audit(Some(user()), [48, 24])
    );
    assert_eq!(parse("audit --until 2d"), audit(None, [72, 48]));
    for text in ["audit --since 1h --until 1h", "audit --until 2w"] {
        assert_eq!(parse(text).unwrap_err().code(), "TIME_INVALID", "{text}");
    }
    let said = parse("role &lt;@U1&gt; admin").unwrap_err().to_string();
    assert!(said.starts_with("`<@U1>` is nobody"), "{said}");
    let said = parse("role").unwrap_err().to_string();
    assert!(said.starts_with("Say who: name"), "{said}");
    for text in [
        "role",
        "role @ada admin",
        "role <@> admin",
        "role <@U1 admin",
        "role U1 admin",
    ] {
        assert_eq!(parse(text).unwrap_err().code(), "USER_INVALID", "{text}");
    }
}
