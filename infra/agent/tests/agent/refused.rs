//! A cloud that cannot handle messages for a while.

use std::time::Duration;

use bematic_protocol::{
    messages::{AgentMessage, Availability, CloudMessage, Envelope, Heartbeat},
    time::Timestamp,
};

use crate::support::{Connection, Options, Setup, TIME_LIMIT, task};

/// An agent with short waits before it sends a message again, and without heartbeats, so that a test
/// that waits for a message in vain fails.
async fn with_short_waits() -> Setup {
    let mut options = Options::default();
    options.timings.heartbeat = 10 * TIME_LIMIT;
    options.timings.retry = Duration::from_millis(20);
    Setup::with(options).await
}

/// The next message about a task.
async fn next(connection: &mut Connection) -> Envelope<AgentMessage> {
    loop {
        let envelope = connection.next().await;
        if !matches!(envelope.message, AgentMessage::AgentStatus(_)) {
            return envelope;
        }
    }
}

fn output(envelope: &Envelope<AgentMessage>) -> Option<&str> {
    match &envelope.message {
        AgentMessage::TaskStream(stream) => Some(&stream.delta),
        _ => None,
    }
}

/// Pings the agent at that time, and waits for the answer.
async fn echo(connection: &mut Connection, time: u64) {
    let asked = Timestamp::from_millis(time);
    let question = Heartbeat {
        server_time: Some(asked),
    };
    connection.send(CloudMessage::HeartbeatPing(question)).await;
    connection
        .find(|message| match message {
            AgentMessage::HeartbeatPong(report) => (report.server_time == asked).then_some(()),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn messages_that_the_cloud_could_not_handle_are_sent_again_until_it_can() {
    let mut setup = with_short_waits().await;
    let connection = &mut setup.connection;
    connection.confirms = false;
    let task = task("echo hi; while [ ! -e go ]; do sleep 0.01; done");
    connection.submit(&task).await;
    let ack = next(connection).await;
    assert!(matches!(ack.message, AgentMessage::TaskAck(_)), "{ack:?}");
    let hi = next(connection).await;
    assert_eq!(output(&hi), Some("hi\n"));
    for refused in [&ack, &hi] {
        for _ in 0..3 {
            connection.refuse(refused, "STORE_UNAVAILABLE").await;
            assert_eq!(&next(connection).await, refused);
        }
    }
    std::fs::write(setup.folder.path().join("go"), "").unwrap();
    let (_, end) = connection.transcript(task.task_id).await;
    connection.refuse(&end, "QUEUE_UNAVAILABLE").await;
    let (transcript, again) = connection.transcript(task.task_id).await;
    assert_eq!((transcript.output.as_str(), again), ("", end));
}

#[tokio::test]
async fn after_an_error_of_the_gateway_messages_that_may_be_lost_are_sent_again() {
    let mut setup = with_short_waits().await;
    let connection = &mut setup.connection;
    let task = task("echo hi; while [ ! -e go ]; do sleep 0.01; done");
    connection.submit(&task).await;
    let first = [next(connection).await, next(connection).await];
    assert_eq!(output(&first[1]), Some("hi\n"));
    connection.gateway_error().await;
    let again = [next(connection).await, next(connection).await];
    assert_eq!(again, first);
    std::fs::write(setup.folder.path().join("go"), "").unwrap();
    let (transcript, end) = connection.transcript(task.task_id).await;
    assert!(matches!(end.message, AgentMessage::TaskComplete(_)));
    assert_eq!(transcript.output, "");
}

#[tokio::test]
async fn the_cloud_is_answered_while_the_agent_stops() {
    let mut setup = with_short_waits().await;
    let task = task("echo on; while [ ! -e go ]; do sleep 0.01; done");
    setup.connection.submit(&task).await;
    setup.connection.output_until(task.task_id, "on").await;
    setup.agent.stop().await;
    setup
        .connection
        .find(|message| match message {
            AgentMessage::AgentStatus(status) => {
                (status.status == Availability::Draining).then_some(())
            }
            _ => None,
        })
        .await;
    echo(&mut setup.connection, 42).await;
    std::fs::write(setup.folder.path().join("go"), "").unwrap();
    setup.connection.closed().await;
}

#[tokio::test]
async fn the_cloud_is_answered_over_the_older_connection_until_there_is_a_newer() {
    let mut options = Options::default();
    options.timings.renew = Duration::from_millis(100);
    let mut setup = Setup::with(options).await;
    // From here on the agent waits for the handshake.
    let stream = setup.beginning().await;
    echo(&mut setup.connection, 42).await;
    setup.replaced(stream).await;
    let newer = echo(&mut setup.connection, 43);
    setup.cloud.alone(newer).await;
}
