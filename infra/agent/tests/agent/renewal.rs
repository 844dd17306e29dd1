//! Replacing a connection before API Gateway ends it.

use std::time::Duration;

use bematic_agent::Notice;
use bematic_protocol::messages::{AgentMessage, TaskAck, TaskStream};

use crate::support::{self, Options, Setup, task};

/// An agent that replaces its connection again and again.
async fn with_frequent_renewals() -> Setup {
    let mut options = Options::default();
    options.timings.renew = Duration::from_millis(100);
    Setup::with(options).await
}

fn stream(message: AgentMessage) -> Option<TaskStream> {
    match message {
        AgentMessage::TaskStream(stream) => Some(stream),
        _ => None,
    }
}

fn ack(message: &AgentMessage) -> Option<TaskAck> {
    match message {
        AgentMessage::TaskAck(ack) => Some(ack.clone()),
        _ => None,
    }
}

/// The notices about connections, except those at the start.
fn seen(setup: &Setup) -> Vec<Notice> {
    let connections = setup.agent.notices().into_iter().filter(|notice| {
        matches!(
            notice,
            Notice::Connecting
                | Notice::Connected
                | Notice::Renewed
                | Notice::Disconnected { .. }
                | Notice::Warning { .. }
        )
    });
    connections.skip(2).collect()
}

#[tokio::test]
async fn output_arrives_once_though_the_cloud_closes_each_connection_for_the_next() {
    let mut setup = with_frequent_renewals().await;
    let task = task("i=0; while [ ! -e stop ]; do echo $i; i=$((i+1)); sleep 0.003; done");
    setup.connection.submit(&task).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let stream = setup.beginning().await;
        let (older, status) = setup.replaced(stream).await;
        assert_eq!(status.active_tasks, [task.task_id]);
        let rest = older.close().await.into_iter();
        streams.extend(rest.filter_map(|envelope| self::stream(envelope.message)));
    }
    let before = streams.len();
    assert!(before > 0);
    std::fs::write(setup.folder.path().join("stop"), "").unwrap();
    let transcript = setup.connection.transcript(task.task_id);
    let (transcript, _) = setup.cloud.alone(transcript).await;
    let seqs: Vec<u64> = streams.iter().filter_map(|stream| stream.seq).collect();
    let all: Vec<u64> = seqs.into_iter().chain(transcript.seqs).collect();
    assert_eq!(all, (0..all.len() as u64).collect::<Vec<_>>());
    let deltas: String = streams.into_iter().map(|stream| stream.delta).collect();
    let output = deltas + &transcript.output;
    let numbers: Vec<usize> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    assert_eq!(seen(&setup)[..3], vec![Notice::Renewed; 3]);
}

#[tokio::test]
async fn a_task_that_comes_while_connections_change_is_run_once() {
    let mut setup = with_frequent_renewals().await;
    let (first, second) = (task("echo ran >> first"), task("echo ran >> second"));
    let stream = setup.beginning().await;
    setup.connection.submit(&first).await;
    let (mut older, _) = setup.replaced(stream).await;
    older.submit(&first).await;
    older.submit(&second).await;
    setup.connection.submit(&second).await;
    let newer = async {
        for _ in 0..4 {
            assert!(setup.connection.find(ack).await.accepted);
        }
        for task in [&first, &second] {
            setup.connection.end_of(task.task_id).await;
        }
    };
    setup.cloud.alone(newer).await;
    for name in ["first", "second"] {
        let runs = std::fs::read_to_string(setup.folder.path().join(name)).unwrap();
        assert_eq!(runs, "ran\n");
    }
    // A cloud that does not close the older connection sees the agent do so, after a while.
    setup.cloud.alone(older.serve()).await;
    assert!(!older.has_kept(|message| ack(message).is_some()));
}

#[tokio::test]
async fn an_unconfirmed_result_is_sent_again_and_messages_that_arrived_before_it_are_not() {
    let mut setup = with_frequent_renewals().await;
    setup.connection.confirms = false;
    let task = task("echo hi");
    setup.connection.submit(&task).await;
    let transcript = setup.connection.transcript(task.task_id);
    let (_, first) = setup.cloud.alone(transcript).await;
    let stream = setup.beginning().await;
    let (_older, status) = setup.replaced(stream).await;
    assert_eq!(status.active_tasks, [task.task_id]);
    let transcript = setup.connection.transcript(task.task_id);
    let (transcript, again) = setup.cloud.alone(transcript).await;
    assert_eq!((&again.id, &again.message), (&first.id, &first.message));
    assert_eq!(transcript.output, "");
}

#[tokio::test]
async fn the_older_connection_may_end_before_the_new_one_is_ready() {
    let mut setup = with_frequent_renewals().await;
    let stream = setup.beginning().await;
    setup.connection.cut().await;
    setup.replaced(stream).await;
    let task = task("echo hi");
    setup.connection.submit(&task).await;
    let end = setup.connection.end_of(task.task_id);
    setup.cloud.alone(end).await;
    assert_eq!(seen(&setup)[0], Notice::Renewed);
}

#[tokio::test]
async fn the_older_connection_goes_on_until_a_new_one_can_be_opened() {
    let mut setup = with_frequent_renewals().await;
    drop(setup.beginning().await);
    let task = support::task("echo hi");
    setup.connection.submit(&task).await;
    let end = setup.connection.end_of(task.task_id);
    setup.cloud.alone(end).await;
    let stream = setup.beginning().await;
    setup.replaced(stream).await;
    let seen = seen(&setup);
    let [Notice::Warning { message }, .., Notice::Renewed] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert!(message.contains("could not be renewed"));
}
