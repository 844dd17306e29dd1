//! The program itself: its command line, exit codes, signals and printed lines.

use std::process::Output;

use bematic_protocol::messages::{AgentMessage, Availability};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::support::{self, Cloud, KEY, PROGRAM, TIME_LIMIT, task};

/// The program, with a key in its environment and JSON lines on standard output.
fn program(url: &str, workdir: &str, key: &str) -> Command {
    let mut command = support::program(PROGRAM, url, workdir);
    command.arg("--json").env("BEMATIC_API_KEY", key);
    command
}

async fn output(mut command: Command) -> Output {
    timeout(TIME_LIMIT, command.output())
        .await
        .expect("an end in time")
        .unwrap()
}

#[tokio::test]
async fn sigterm_finishes_the_task_and_exits_with_0() {
    let cloud = Cloud::start().await;
    let folder = tempfile::tempdir().unwrap();
    let child = program(&cloud.url(), folder.path().to_str().unwrap(), KEY)
        .spawn()
        .unwrap();
    let (mut connection, _) = cloud.connected().await;
    let task = task(
        "echo \"key=[$BEMATIC_API_KEY]\"; while [ ! -e go ]; do sleep 0.01; done; echo finished",
    );
    connection.submit(&task).await;
    connection.output_until(task.task_id, "key=[]").await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    connection
        .find(|message| match message {
            AgentMessage::AgentStatus(status) if status.status == Availability::Draining => {
                Some(())
            }
            _ => None,
        })
        .await;
    std::fs::write(folder.path().join("go"), "").unwrap();
    let (transcript, _) = connection.transcript(task.task_id).await;
    assert!(transcript.output.contains("finished"));
    connection.closed().await;
    let output = timeout(TIME_LIMIT, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "started",
            "connecting",
            "connected",
            "task_accepted",
            "task_started",
            "draining",
            "task_ended",
            "stopped"
        ]
    );
    assert!(!text.contains(KEY));
}

#[tokio::test]
async fn a_refused_key_exits_with_3() {
    let cloud = Cloud::start().await;
    let child = output(program(&cloud.url(), "/", "bm_bad"));
    let (_, output) = tokio::join!(cloud.accept(), child);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("HTTP 401") && !text.contains("bm_bad"));
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_says_what_to_do() {
    let output = output(program("ws://127.0.0.1:1/x", "/no/such/folder", KEY)).await;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("--workdir /no/such/folder"), "{text}");
}

#[tokio::test]
async fn the_agent_waits_for_a_cloud_that_does_not_listen_yet() {
    let free = Cloud::start().await;
    let url = free.url();
    let address = url
        .trim_start_matches("ws://")
        .trim_end_matches("/dev")
        .to_owned();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let mut child = program(&url, folder.path().to_str().unwrap(), KEY)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines
        .next_line()
        .await
        .unwrap()
        .unwrap()
        .contains("disconnected")
    {}
    let cloud = Cloud::at(&address).await;
    cloud.connected().await;
}
