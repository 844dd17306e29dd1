//! Cancelling tasks, and stopping the agent.

use std::{path::Path, time::Duration};

use bematic_agent::Exit;
use bematic_protocol::messages::{
    AgentMessage, Availability, CloudMessage, SystemNotice, TaskCancelled,
};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use tokio::time::sleep;

use crate::support::{Options, Setup, TIME_LIMIT, ends, task};

fn cancelled(message: AgentMessage) -> TaskCancelled {
    match message {
        AgentMessage::TaskCancelled(cancelled) => cancelled,
        other => panic!("not cancelled: {other:?}"),
    }
}

fn availability(wanted: Availability) -> impl Fn(&AgentMessage) -> Option<()> {
    move |message| match message {
        AgentMessage::AgentStatus(status) if status.status == wanted => Some(()),
        _ => None,
    }
}

/// Waits until the process whose id is in `file` is gone.
async fn wait_for_process_end(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let pid = Pid::from_raw(text.trim().parse().unwrap());
    let gone = async {
        while kill(pid, None) != Err(Errno::ESRCH) && !is_zombie(pid) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIME_LIMIT, gone)
        .await
        .expect("the process to end");
}

/// An orphan stays a zombie where nothing reaps orphans, as in a container.
fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    })
}

#[tokio::test]
async fn a_cancelled_command_is_asked_to_end_and_its_output_so_far_is_sent() {
    let mut setup = Setup::start().await;
    let task = task("trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.01; done");
    setup.connection.submit(&task).await;
    setup.connection.output_until(task.task_id, "hello").await;
    setup.connection.cancel(task.task_id).await;
    let (transcript, end) = setup.connection.transcript(task.task_id).await;
    assert!(transcript.output.contains("bye"));
    let cancelled = cancelled(end.message);
    assert_eq!(cancelled.reason.as_deref(), Some("not needed"));
    assert_eq!(cancelled.attempt, task.attempt);
}

#[tokio::test]
async fn a_command_that_ignores_being_asked_is_killed_with_all_it_started() {
    let mut setup = Setup::start().await;
    let task = task(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > grandchild; echo ready; \
                 while :; do sleep 0.01; done' & echo $$ > child; wait; while :; do sleep 0.01; done",
    );
    setup.connection.submit(&task).await;
    setup.connection.output_until(task.task_id, "ready").await;
    setup.connection.cancel(task.task_id).await;
    cancelled(setup.connection.end_of(task.task_id).await);
    wait_for_process_end(&setup.folder.path().join("child")).await;
    wait_for_process_end(&setup.folder.path().join("grandchild")).await;
}

#[tokio::test]
async fn processes_that_a_command_left_behind_end_with_it() {
    let mut setup = Setup::start().await;
    let task = task("sleep 1000 >/dev/null 2>&1 & echo $! > left; echo done");
    setup.connection.submit(&task).await;
    let end = setup.connection.end_of(task.task_id).await;
    assert!(matches!(end, AgentMessage::TaskComplete(_)));
    wait_for_process_end(&setup.folder.path().join("left")).await;
}

#[tokio::test]
async fn a_waiting_task_is_cancelled_at_once_and_an_unknown_one_is_ignored() {
    let options = Options {
        concurrency: 1,
        ..Options::default()
    };
    let mut setup = Setup::with(options).await;
    let (running, waiting) = (task("sleep 1000"), task("echo never"));
    setup.connection.submit(&running).await;
    setup.connection.submit(&waiting).await;
    setup.connection.cancel(waiting.task_id).await;
    let unknown = task("");
    setup.connection.cancel(unknown.task_id).await;
    cancelled(setup.connection.end_of(waiting.task_id).await);
    setup.connection.cancel(running.task_id).await;
    cancelled(setup.connection.end_of(running.task_id).await);
    let of_unknown = |message: &AgentMessage| ends(message) == Some(unknown.task_id);
    assert!(!setup.connection.has_kept(of_unknown));
}

#[tokio::test]
async fn a_stopped_agent_hands_back_waiting_tasks_and_finishes_running_ones() {
    let options = Options {
        concurrency: 1,
        ..Options::default()
    };
    let mut setup = Setup::with(options).await;
    let running = task("echo on; while [ ! -e go ]; do sleep 0.01; done; echo finished");
    let waiting = task("echo never");
    setup.connection.submit(&running).await;
    setup.connection.submit(&waiting).await;
    setup.connection.output_until(running.task_id, "on").await;
    setup.agent.stop().await;
    setup
        .connection
        .find(availability(Availability::Draining))
        .await;
    let refused = |message: &AgentMessage| match message {
        AgentMessage::TaskAck(ack) if !ack.accepted => Some(ack.clone()),
        _ => None,
    };
    let handed_back = setup.connection.find(refused).await;
    assert_eq!(handed_back.task_id, waiting.task_id);
    assert!(handed_back.retryable && !handed_back.spent);
    let late = task("echo never");
    setup.connection.submit(&late).await;
    assert_eq!(setup.connection.find(refused).await.task_id, late.task_id);
    std::fs::write(setup.folder.path().join("go"), "").unwrap();
    let end = setup.connection.end_of(running.task_id).await;
    assert!(matches!(end, AgentMessage::TaskComplete(_)), "{end:?}");
    setup
        .connection
        .find(availability(Availability::Offline))
        .await;
    setup.connection.closed().await;
    assert_eq!(setup.agent.ended().await, Exit::Stopped);
}

#[tokio::test]
async fn a_second_signal_ends_running_tasks() {
    let mut setup = Setup::start().await;
    let task = task("echo on; sleep 1000");
    setup.connection.submit(&task).await;
    setup.connection.output_until(task.task_id, "on").await;
    setup.agent.stop().await;
    setup.agent.stop().await;
    let AgentMessage::TaskError(failure) = setup.connection.end_of(task.task_id).await else {
        panic!("not failed");
    };
    assert!(failure.recoverable && failure.error.contains("agent was stopped"));
    setup.connection.closed().await;
    assert_eq!(setup.agent.ended().await, Exit::Stopped);
}

#[tokio::test]
async fn a_task_that_does_not_finish_in_the_drain_time_is_ended() {
    let mut options = Options::default();
    options.timings.drain = Duration::from_millis(50);
    let mut setup = Setup::with(options).await;
    let task = task("sleep 1000");
    setup.connection.submit(&task).await;
    setup
        .connection
        .find(|m| matches!(m, AgentMessage::TaskAck(_)).then_some(()))
        .await;
    setup
        .connection
        .send(CloudMessage::SystemRestart(SystemNotice {
            reason: "update".to_owned(),
            rebuild: None,
        }))
        .await;
    let end = setup.connection.end_of(task.task_id).await;
    assert!(matches!(end, AgentMessage::TaskError(_)), "{end:?}");
    setup.connection.closed().await;
    assert_eq!(setup.agent.ended().await, Exit::Restart);
}
