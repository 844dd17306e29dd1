//! Losing the connection, and reconnecting.

use std::time::Duration;

use bematic_agent::{Exit, Notice};
use bematic_protocol::{
    messages::{AgentMessage, CloudMessage, Heartbeat, MessageAck},
    time::Timestamp,
};

use crate::support::{self, Agent, Cloud, Options, Setup, task};

#[tokio::test]
async fn a_bad_key_ends_the_agent_with_advice() {
    let cloud = Cloud::start().await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        key: "bm_bad",
        ..Options::default()
    };
    let agent = Agent::start("sh", &cloud.url(), folder.path(), options);
    assert!(cloud.accept().await.is_none());
    let notices = agent.notices_at_end().await;
    let advice = notices.1.iter().any(
        |notice| matches!(notice, Notice::Error { message } if message.contains("--agent-id")),
    );
    assert!(advice, "{notices:?}");
    assert_eq!(notices.0, Exit::Refused);
}

#[tokio::test]
async fn an_answer_that_does_not_speak_of_the_key_is_tried_again_with_a_warning() {
    let cloud = Cloud::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start("sh", &cloud.url(), folder.path(), Options::default());
    let statuses = [403, 500, 403, 429];
    for status in statuses {
        cloud.answer(status).await;
    }
    let (mut connection, _) = cloud.connected().await;
    let reasons: Vec<_> = agent
        .notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Disconnected { reason, retry_in } => Some((reason, retry_in)),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), statuses.len(), "{reasons:?}");
    for ((reason, retry_in), status) in reasons.iter().zip(statuses) {
        assert!(reason.contains(&format!("HTTP {status}")), "{reason}");
        assert!(!retry_in.is_zero());
        assert_eq!(reason.contains("check --url"), status == 403, "{reason}");
    }
    agent.stop().await;
    connection.closed().await;
    assert_eq!(agent.ended().await, Exit::Stopped);
}

#[tokio::test]
async fn a_key_that_is_refused_after_a_403_ends_the_agent() {
    let cloud = Cloud::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start("sh", &cloud.url(), folder.path(), Options::default());
    cloud.answer(403).await;
    cloud.answer(401).await;
    assert_eq!(agent.ended().await, Exit::Refused);
}

#[tokio::test]
async fn the_first_message_names_the_capacity() {
    let setup = Setup::start().await;
    assert_eq!(
        (setup.status.capacity, setup.status.active_tasks),
        (2, vec![])
    );
}

#[tokio::test]
async fn an_unconfirmed_result_is_sent_again_over_the_next_connection() {
    let mut setup = Setup::start().await;
    setup.connection.confirms = false;
    let task = task("echo hi");
    setup.connection.submit(&task).await;
    let (_, first) = setup.connection.transcript(task.task_id).await;
    setup.connection.cut().await;

    let status = setup.next_connection().await;
    assert_eq!(status.active_tasks, [task.task_id]);
    let (transcript, again) = setup.connection.transcript(task.task_id).await;
    assert_eq!((&again.id, &again.message), (&first.id, &first.message));
    assert_eq!(
        transcript.output, "hi\n",
        "output that was not known to have arrived is sent again"
    );
    // The stand-in has confirmed it: nothing about it comes over another connection.
    let last = support::task("true");
    setup.connection.submit(&last).await;
    setup.connection.transcript(last.task_id).await;
    setup.connection.cut().await;
    let status = setup.next_connection().await;
    assert!(!status.active_tasks.contains(&task.task_id));
}

#[tokio::test]
async fn an_unconfirmed_result_is_sent_again_over_the_same_connection() {
    let mut options = Options::default();
    options.timings.resend = Duration::from_millis(30);
    let mut setup = Setup::with(options).await;
    setup.connection.confirms = false;
    let task = task("echo hi");
    setup.connection.submit(&task).await;
    let (_, first) = setup.connection.transcript(task.task_id).await;
    let (_, second) = setup.connection.transcript(task.task_id).await;
    assert_eq!(first.id, second.id);
    let message_id = second.id;
    setup
        .connection
        .send(CloudMessage::MessageAck(MessageAck { message_id }))
        .await;
}

#[tokio::test]
async fn a_task_goes_on_without_a_connection_and_nothing_of_it_is_lost() {
    let mut setup = Setup::start().await;
    let task = task(
        "echo before; while [ ! -e cut ]; do sleep 0.01; done; echo meanwhile; touch written\n\
                 while [ ! -e go ]; do sleep 0.01; done; echo after",
    );
    setup.connection.submit(&task).await;
    setup.connection.output_until(task.task_id, "before").await;
    setup.connection.cut().await;
    std::fs::write(setup.folder.path().join("cut"), "").unwrap();
    let status = setup.next_connection().await;
    assert_eq!(status.active_tasks, [task.task_id]);
    std::fs::write(setup.folder.path().join("go"), "").unwrap();
    let (transcript, _) = setup.connection.transcript(task.task_id).await;
    assert_eq!(transcript.output, "before\nmeanwhile\nafter\n");
    assert!(transcript.seqs.is_sorted(), "{:?}", transcript.seqs);
}

#[tokio::test]
async fn heartbeats_are_sent_and_answered_and_a_silent_connection_is_replaced() {
    let mut options = Options::default();
    options.timings.heartbeat = Duration::from_millis(50);
    options.timings.silence = Duration::from_millis(500);
    let mut setup = Setup::with(options).await;
    setup.connection.answers = false;
    setup
        .connection
        .find(|m| matches!(m, AgentMessage::HeartbeatPing(_)).then_some(()))
        .await;
    let sent = Timestamp::from_millis(42);
    let question = Heartbeat {
        server_time: Some(sent),
    };
    setup
        .connection
        .send(CloudMessage::HeartbeatPing(question))
        .await;
    let answer = setup
        .connection
        .find(|message| match message {
            AgentMessage::HeartbeatPong(report) => Some(report.clone()),
            _ => None,
        })
        .await;
    assert_eq!((answer.server_time, answer.active_tasks), (sent, 0));
    assert_eq!(answer.tasks, Some(vec![]));
    // The cloud is silent: the agent reconnects by itself, with the first connection still open.
    let (_next, _) = setup.cloud.connected().await;
}
