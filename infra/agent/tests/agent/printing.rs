//! What the program prints of texts that others wrote.

use std::process::Output;

use bematic_protocol::messages::{CloudMessage, SystemNotice};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{Cloud, KEY, PROGRAM, TIME_LIMIT, program, task};

/// Text that sets a title, overwrites a line, adds a line, changes colours, and turns around.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\rfake\n\u{9b}31m\u{7f}\u{202e}txt\u{2066}";

/// Runs the program with hostile texts of a prompt, a step, an error, a path and the cloud.
async fn run(options: &[&str]) -> Output {
    let cloud = Cloud::start().await;
    let folder = tempfile::tempdir().unwrap();
    let workdir = folder.path().to_str().unwrap();
    let mut command = program(PROGRAM, &cloud.url(), workdir);
    command.args(options).env("BEMATIC_API_KEY", KEY);
    let child = command.spawn().unwrap();
    let (mut connection, _) = cloud.connected().await;

    // In ASCII, so that the agent's decoder of output leaves it as it is.
    let hostile = r"\u001b]0;owned\u0007\rfake\n\u009b31m\u007f\u202etxt\u2066";
    let declared = format!(r#"{{"step":"{hostile}","error":"{hostile}"}}"#);
    let script = format!("printf '%s %s\\n' \"$BEMATIC_LINE_PREFIX\" '{declared}'");
    let title = HOSTILE.replace(['\n', '\r'], " ");
    let failing = task(&format!("# {title}\n{script}"));
    connection.submit(&failing).await;
    connection.transcript(failing.task_id).await;

    let mut elsewhere = task("true");
    elsewhere.local_path = format!("/{HOSTILE}");
    connection.submit(&elsewhere).await;
    let notice = SystemNotice {
        reason: HOSTILE.to_owned(),
        rebuild: None,
    };
    connection.send(CloudMessage::SystemShutdown(notice)).await;
    connection.closed().await;
    let output = timeout(TIME_LIMIT, child.wait_with_output()).await;
    output.expect("an end in time").unwrap()
}

fn assert_printable(text: &str) {
    let acts = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2066}".contains(c);
    assert!(!text.contains(acts), "{text:?}");
}

#[tokio::test]
async fn a_log_line_holds_nothing_that_a_terminal_acts_on() {
    let output = run(&[]).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_printable(&text);
    assert!(!text.lines().any(|line| line.starts_with("fake")), "{text}");
    for part in [
        "failed: \\u001b]0;owned\\u0007",
        "not taken: ",
        "stopping: ",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[tokio::test]
async fn a_json_line_holds_the_same_text_printably() {
    let output = run(&["--json"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_printable(&text);
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let find = |event: &str, field: &str| {
        let found = events.iter().find(|it| it["event"] == event);
        found.unwrap_or_else(|| panic!("{event} in {text}"))[field]
            .as_str()
            .unwrap()
    };
    assert_eq!(find("task_progress", "step"), HOSTILE);
    assert!(find("task_ended", "reason").contains(HOSTILE));
    assert!(find("task_refused", "reason").contains(HOSTILE));
    assert!(find("draining", "reason").contains(HOSTILE));
}

#[tokio::test]
async fn an_error_repeats_an_option_printably() {
    for (option, value) in [
        ("--agent-id", HOSTILE),
        ("--exec", "'"),
        ("--workdir", HOSTILE),
    ] {
        let mut command = program(PROGRAM, "ws://127.0.0.1:1/x", "/");
        if option == "--workdir" {
            command.args([option, value]).env("BEMATIC_API_KEY", KEY);
        } else {
            command = tokio::process::Command::new(PROGRAM);
            command.args([
                "--url",
                "ws://127.0.0.1:1/x",
                "--workdir",
                "/",
                option,
                value,
            ]);
        }
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(option), "{text}");
        assert_printable(&text);
    }
}
