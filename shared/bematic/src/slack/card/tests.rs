use bematic_protocol::{ids::Attempt, time::Timestamp};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::task::{
    CancelRequest, Completion, Failure, FailureCode, LateReport, Lease, Origin, TaskPolicy,
    TaskSpec, TaskState, TerminalMessage,
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_065_000);
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn task(prompt: &str, state: TaskState) -> Task {
    let spec = TaskSpec {
        project_id: "web".into(),
        bot_name: "bematic".into(),
        command: "run".into(),
        prompt: prompt.into(),
        system_prompt: String::new(),
        local_path: "/srv".into(),
        model: "m".into(),
        max_budget: 1.0,
        allowed_tools: Vec::new(),
        lease_secs: None,
    };
    let origin = Origin {
        channel_id: "C1".parse().unwrap(),
        thread_ts: None,
        user_id: "U1".parse().unwrap(),
    };
    let id = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    let task = Task::new(
        id,
        "box-1".parse().unwrap(),
        &spec,
        origin,
        &TaskPolicy::default(),
        START,
    );
    Task { state, ..task }
}

fn completion(result: &str) -> Completion {
    Completion {
        result: result.into(),
        session_id: None,
        input_tokens: 12_345,
        output_tokens: 678,
        estimated_cost: 0.0123,
        files_changed: (0..12).map(|n| format!("src/{n}.rs")).collect(),
        commands_run: Vec::new(),
        duration_ms: 62_000,
        model: Some("opus".into()),
    }
}

fn view(task: Task, progress: Progress, output: &str) -> TaskView {
    TaskView {
        task,
        progress,
        output: OutputTail {
            text: output.into(),
            cut: false,
        },
        completion: None,
        late: Vec::new(),
        offline: false,
        buttons: &[],
    }
}

/// The texts of all blocks, as Slack gets them.
fn texts(message: &Message) -> Vec<String> {
    fn collect(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
                Value::String(text) if name == "text" => out.push(text.clone()),
                value => collect(value, out),
            }),
            Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    collect(&serde_json::to_value(&message.blocks).unwrap(), &mut out);
    out
}

fn shown(view: &TaskView) -> String {
    texts(&view.render(NOW)).join("\n--\n")
}

const RUNNING: TaskState = TaskState::Processing {
    attempt: Attempt::FIRST,
    spent: 0,
    started_at: START,
    lease: Lease {
        heard_at: START,
        since: START,
        ends_early_at: None,
    },
    cancel: None,
};
const DONE: TaskState = TaskState::Completed {
    attempt: Attempt::FIRST,
    started_at: START,
    finished_at: NOW,
};

const ORIGIN: &str = "`0198c0de-0000-7000-8000-000000000001` · agent `box-1` · project web · \
                      asked by <@U1>";

#[test]
fn a_new_task_waits_for_its_agent() {
    let (task, progress) = (task("fix a < b", TaskState::NEW), Progress::default());
    let view = view(task, progress, "");
    assert_eq!(
        shown(&view),
        format!(":hourglass_flowing_sand: *Waiting for agent box-1*\nfix a &lt; b\n--\n{ORIGIN}")
    );
    assert_eq!(
        view.render(NOW).text,
        ":hourglass_flowing_sand: Waiting for agent box-1: fix a &lt; b"
    );
}

#[test]
fn a_refused_task_says_until_when_it_waits_and_why() {
    let state = TaskState::Pending {
        undelivered: false,
        spent: 1,
        attempts: 1,
        not_before: Some(NOW),
        last_error: Some("<!channel> busy".into()),
    };
    let (task, progress) = (task("x", state), Progress::default());
    let text = shown(&view(task, progress, ""));
    assert!(
        text.contains("Waits until <!date^1700000065^{time_secs}|22:14:25 UTC>"),
        "{text}"
    );
    assert!(text.contains("Reason: &lt;!channel&gt; busy"), "{text}");
}

#[test]
fn a_running_task_shows_how_far_it_is() {
    let task = task("fix it", RUNNING);
    let progress = Progress {
        percent: Some(42.0),
        steps: vec![
            (StepKind::ToolUse, "Read `a.rs`".into()),
            (StepKind::Thinking, "hm\nhm".into()),
        ],
    };
    assert_eq!(
        shown(&view(task, progress, "some **output**")),
        format!(
            ":gear: *Running on agent box-1 for 1 min 5 s*\n`████████░░░░░░░░░░░░` 42 %\nfix it\
             \n--\n:hammer_and_wrench: Read `a.rs`\n:thought_balloon: hm hm\
             \n--\n*Output*\nsome *output*\n--\n{ORIGIN}"
        )
    );
}

#[test]
fn a_task_that_waits_for_an_agent_that_is_offline_says_so() {
    let (task, progress) = (task("fix it", TaskState::NEW), Progress::default());
    let view = TaskView {
        offline: true,
        ..view(task, progress, "")
    };
    assert_eq!(
        shown(&view),
        format!(
            ":hourglass_flowing_sand: *Waiting for agent box-1*\n\
             The agent was offline: the task waits until it is back.\nfix it\n--\n{ORIGIN}"
        )
    );
}

#[test]
fn a_completed_task_shows_what_came_of_it() {
    let (task, progress) = (task("fix it", DONE), Progress::default());
    let view = TaskView {
        completion: Some(completion("# Done\nAll **good**.")),
        ..view(task, progress, "working…\n# Done\nAll **good**.\n")
    };
    let files: Vec<_> = (0..10).map(|n| format!("• src/{n}.rs\n")).collect();
    assert_eq!(
        shown(&view),
        format!(
            ":white_check_mark: *Completed in 1 min 2 s*\nfix it\n--\n*Output*\nworking…\n--\n\
             *Result*\n*Done*\n\nAll *good*.\n--\n*12 files changed*\n{}and 2 more\n--\n\
             opus · 12 345 tokens in, 678 out · $0.0123\n--\n{ORIGIN}",
            files.concat()
        )
    );
}

#[test]
fn the_end_of_long_output_is_shown_below_a_completed_task() {
    let (task, progress) = (task("x", DONE), Progress::default());
    let lines: Vec<_> = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let output = lines.concat();
    let view = TaskView {
        completion: Some(completion("fine")),
        ..view(task, progress, &output)
    };
    let text = shown(&view);
    assert!(text.contains("*Output*\n…\nline "), "{text}");
    assert!(text.contains("line 49999\n--\n*Result*\nfine"), "{text}");
}

#[test]
fn a_failed_task_says_why_and_what_to_do() {
    let state = TaskState::Failed {
        attempt: Some(Attempt::FIRST),
        started_at: Some(START),
        finished_at: NOW,
        failure: Failure::new(FailureCode::AgentError, "no such file\nat all", false),
    };
    let (task, progress) = (task("x", state), Progress::default());
    let text = shown(&view(task, progress, ""));
    let expected = ":x: *Failed after 1 min 5 s*\n`AGENT_ERROR`\n> no such file\n> at all\nLook at \
                    the output";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_cancelled_task_says_why() {
    let state = TaskState::Cancelled {
        attempt: None,
        started_at: None,
        finished_at: NOW,
        by: None,
        reason: Some("not needed".into()),
    };
    let (task, progress) = (task("x", state), Progress::default());
    let text = shown(&view(task, progress, ""));
    assert!(
        text.starts_with(":no_entry_sign: *Cancelled*\nReason: not needed\nx"),
        "{text}"
    );
}

#[test]
fn a_task_that_is_to_stop_says_who_asked_and_has_no_button_any_more() {
    let TaskState::Processing {
        attempt,
        spent,
        started_at,
        lease,
        ..
    } = RUNNING
    else {
        unreachable!()
    };
    let cancel = Some(CancelRequest {
        by: "U2".parse().unwrap(),
        at: NOW,
    });
    let state = TaskState::Processing {
        attempt,
        spent,
        started_at,
        lease,
        cancel,
    };
    let (task, progress) = (task("x", state), Progress::default());
    let text = shown(&view(task, progress, ""));
    let expected = ":gear: *Stopping on agent box-1*\n<@U2> asked for it.\nx";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_button_names_what_it_does_and_to_which_task() {
    let (task, progress) = (task("x", RUNNING), Progress::default());
    let view = TaskView {
        buttons: &[CardAction::Cancel],
        ..view(task, progress, "")
    };
    let blocks = serde_json::to_value(&view.render(NOW).blocks).unwrap();
    let button = &blocks.as_array().unwrap().last().unwrap()["elements"][0];
    assert_eq!(button["action_id"], "cancel");
    assert_eq!(button["value"], view.task.id.to_string());
    assert_eq!(button["text"]["text"], "Cancel");
    assert_eq!("cancel".parse(), Ok(CardAction::Cancel));
}

#[test]
fn what_came_too_late_is_shown_as_late() {
    let (task, progress) = (task("x", RUNNING), Progress::default());
    let late = vec![LateReport {
        attempt: Attempt::FIRST,
        at: NOW,
        outcome: TerminalMessage::Completed(Box::new(completion("all\ngood"))),
    }];
    let view = TaskView {
        late,
        ..view(task, progress, "")
    };
    let text = shown(&view);
    assert!(
        text.contains(":snail: *Late:* attempt 1 completed: all good"),
        "{text}"
    );
}

fn any_text() -> impl Strategy<Value = String> {
    let unit = prop_oneof![
        "\\PC{1,6}",
        "[&<>\n]{1,6}",
        Just("🦀".into()),
        Just("a\n".into())
    ];
    (unit, 0_usize..1500).prop_map(|(unit, times)| unit.repeat(times))
}

fn any_state() -> impl Strategy<Value = TaskState> {
    let failure = |message: String| TaskState::Failed {
        attempt: None,
        started_at: Some(START),
        finished_at: NOW,
        failure: Failure::new(FailureCode::AttemptsExhausted, &message, true),
    };
    let refused = |error| TaskState::Pending {
        undelivered: false,
        spent: 1,
        attempts: 1,
        not_before: Some(NOW),
        last_error: Some(error),
    };
    let cancelled = |reason| TaskState::Cancelled {
        attempt: None,
        started_at: Some(START),
        finished_at: NOW,
        by: None,
        reason: Some(reason),
    };
    prop_oneof![
        Just(RUNNING),
        Just(DONE),
        any_text().prop_map(failure),
        any_text().prop_map(refused),
        any_text().prop_map(cancelled),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_card_keeps_slacks_limits(
        state in any_state(),
        title in any_text(),
        steps in proptest::collection::vec(any_text(), 0..12),
        output in any_text(),
        result in proptest::option::of(any_text()),
        name in any_text(),
        cut: bool,
        numbers: (u64, u64, f64, f64),
    ) {
        let mut task = task(&title, state);
        task.project_id.clone_from(&name);
        let progress = Progress {
            percent: Some(numbers.3),
            steps: steps.iter().map(|step| (StepKind::ToolUse, step.clone())).collect(),
        };
        let completion = result.map(|result| Completion {
            input_tokens: numbers.0,
            output_tokens: numbers.1,
            estimated_cost: numbers.2,
            files_changed: vec![name.clone(); 30],
            model: Some(name.clone()),
            ..completion(&result)
        });
        let late = vec![LateReport {
            attempt: Attempt::FIRST,
            at: NOW,
            outcome: TerminalMessage::Cancelled(Some(output.clone())),
        }; 9];
        let view = TaskView {
            output: OutputTail { text: output, cut },
            completion,
            late,
            offline: true,
            buttons: &[CardAction::Cancel, CardAction::Retry],
            ..view(task, progress, "")
        };
        let message = view.render(NOW);
        let texts = texts(&message);
        prop_assert!(message.blocks.len() <= 10);
        for text in &texts {
            prop_assert!(!text.is_empty());
            prop_assert!(mrkdwn::utf16_len(text) <= 2900, "{}", mrkdwn::utf16_len(text));
        }
        let all: usize = texts.iter().map(|text| mrkdwn::utf16_len(text)).sum();
        prop_assert!(all + mrkdwn::utf16_len(&message.text) <= Message::MAX_CHARS, "{}", all);
        prop_assert_eq!(&view.render(NOW), &message);
    }
}
