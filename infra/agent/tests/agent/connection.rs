//! Losing the connection, and getting it back.

use std::time::Duration;

use bematic::{
    protocol::{AgentMessage, CloudMessage, Heartbeat, MessageAck},
    time::Timestamp,
};
use bematic_agent::{event::Ending, ui::Notice};
use tokio::task::LocalSet;

use crate::support::{self, Agent, Cloud, Options, task};

#[tokio::test]
async fn a_bad_key_ends_the_agent_with_advice() {
    LocalSet::new()
        .run_until(async {
            let cloud = Cloud::start().await;
            let folder = tempfile::tempdir().unwrap();
            let options = Options {
                key: "bm_bad",
                ..Options::default()
            };
            let agent = Agent::start(&cloud.url(), folder.path(), options);
            assert!(cloud.accept().await.is_none());
            let notices = agent.notices_at_end().await;
            let advice = notices.1.iter().any(|notice| {
                matches!(notice, Notice::Error { message } if message.contains("--agent-id"))
            });
            assert!(advice, "{notices:?}");
            assert_eq!(notices.0, Ending::Refused);
        })
        .await;
}

#[tokio::test]
async fn the_first_message_names_the_capacity() {
    LocalSet::new()
        .run_until(async {
            let cloud = Cloud::start().await;
            let folder = tempfile::tempdir().unwrap();
            let _agent = Agent::start(&cloud.url(), folder.path(), Options::default());
            let (_, status) = cloud.connected().await;
            assert_eq!((status.capacity, status.active_tasks), (2, vec![]));
        })
        .await;
}

#[tokio::test]
async fn an_unconfirmed_result_is_sent_again_over_the_next_connection() {
    LocalSet::new()
        .run_until(async {
            let cloud = Cloud::start().await;
            let folder = tempfile::tempdir().unwrap();
            let _agent = Agent::start(&cloud.url(), folder.path(), Options::default());
            let (mut connection, _) = cloud.connected().await;
            connection.confirms = false;
            let task = task("echo hi");
            connection.submit(&task).await;
            let (_, first) = connection.story(task.task_id).await;
            drop(connection);

            let (mut connection, status) = cloud.connected().await;
            assert_eq!(status.active_tasks, [task.task_id]);
            let (story, again) = connection.story(task.task_id).await;
            assert_eq!((&again.id, &again.message), (&first.id, &first.message));
            assert_eq!(
                story.output, "hi\n",
                "what was not known to have arrived comes again"
            );
            // Confirmed by the stand-in: another connection hears nothing of it.
            let last = support::task("true");
            connection.submit(&last).await;
            connection.story(last.task_id).await;
            drop(connection);
            let (_, status) = cloud.connected().await;
            assert!(!status.active_tasks.contains(&task.task_id));
        })
        .await;
}

#[tokio::test]
async fn an_unconfirmed_result_is_sent_again_over_the_same_connection() {
    LocalSet::new()
        .run_until(async {
            let cloud = Cloud::start().await;
            let folder = tempfile::tempdir().unwrap();
            let mut options = Options::default();
            options.timings.resend = Duration::from_millis(30);
            let _agent = Agent::start(&cloud.url(), folder.path(), options);
            let (mut connection, _) = cloud.connected().await;
            connection.confirms = false;
            let task = task("echo hi");
            connection.submit(&task).await;
            let (_, first) = connection.story(task.task_id).await;
            let (_, second) = connection.story(task.task_id).await;
            assert_eq!(first.id, second.id);
            let message_id = second.id;
            connection
                .send(CloudMessage::MessageAck(MessageAck { message_id }))
                .await;
        })
        .await;
}

#[tokio::test]
async fn a_task_goes_on_without_a_connection_and_nothing_of_it_is_lost() {
    LocalSet::new()
        .run_until(async {
            let cloud = Cloud::start().await;
            let folder = tempfile::tempdir().unwrap();
            let _agent = Agent::start(&cloud.url(), folder.path(), Options::default());
            let (mut connection, _) = cloud.connected().await;
            let task = task(
                "echo before; while [ ! -e cut ]; do sleep 0.01; done; echo meanwhile; touch written\n\
                 while [ ! -e go ]; do sleep 0.01; done; echo after",
            );
            connection.submit(&task).await;
            connection.output_until(task.task_id, "before").await;
            drop(connection);
            std::fs::write(folder.path().join("cut"), "").unwrap();
            let (mut connection, status) = cloud.connected().await;
            assert_eq!(status.active_tasks, [task.task_id]);
            std::fs::write(folder.path().join("go"), "").unwrap();
            let (story, _) = connection.story(task.task_id).await;
            assert_eq!(story.output, "before\nmeanwhile\nafter\n");
            assert!(story.seqs.is_sorted(), "{:?}", story.seqs);
        })
        .await;
}

#[tokio::test]
async fn heartbeats_are_sent_and_answered_and_a_silent_connection_is_replaced() {
    LocalSet::new()
        .run_until(async {
            let cloud = Cloud::start().await;
            let folder = tempfile::tempdir().unwrap();
            let mut options = Options::default();
            options.timings.heartbeat = Duration::from_millis(50);
            options.timings.silence = Duration::from_millis(500);
            let _agent = Agent::start(&cloud.url(), folder.path(), options);
            let (mut connection, _) = cloud.connected().await;
            connection
                .find(|m| matches!(m, AgentMessage::HeartbeatPing(_)).then_some(()))
                .await;
            let sent = Timestamp::from_millis(42);
            let question = Heartbeat {
                server_time: Some(sent),
            };
            connection.send(CloudMessage::HeartbeatPing(question)).await;
            let answer = connection
                .find(|message| match message {
                    AgentMessage::HeartbeatPong(report) => Some(report.clone()),
                    _ => None,
                })
                .await;
            assert_eq!((answer.server_time, answer.active_tasks), (sent, 0));
            // Nothing more is said: the agent comes back by itself, with the first still open.
            let (_next, _) = cloud.connected().await;
        })
        .await;
}
