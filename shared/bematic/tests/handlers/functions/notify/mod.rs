//! `notifier`.

mod breaker;

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use bematic::{
    dead_letter::QueueName,
    handlers::sqs,
    ports::{DispatchMessage, NotifyMessage, TextReply},
    task::{FLUSH_INTERVAL, FlushInterval},
};
use bematic_protocol::{ids::TaskId, time::Clock};
use fake_aws::{FailurePoint, Message};
use local_slack::Fault;
use serde_json::json;

use crate::world::{World, agent_id, queue_id};

/// The whole text of the one message that Slack shows.
fn shown(world: &World) -> String {
    let [message] = world
        .slack
        .messages()
        .try_into()
        .expect("one message a task");
    format!(
        "{} {}",
        message.content.text,
        message.content.blocks.unwrap_or_default()
    )
}

fn refresh(task_id: TaskId) -> NotifyMessage {
    NotifyMessage::Refresh { task_id }
}

#[tokio::test]
async fn a_task_is_posted_once_and_updated_to_its_end() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.notify_all().await;
    let progress = json!({ "taskId": task.id, "progress": 40, "steps": ["Reading src/login.rs"] });
    world.say("c", "TASK_PROGRESS", progress).await;
    let output = json!({ "taskId": task.id, "delta": "all *tests* pass\n", "seq": 0 });
    world.say("c", "TASK_STREAM", output).await;
    world.notify_all().await;
    assert!(shown(&world).contains("Reading src/login.rs"));
    assert!(shown(&world).contains("tests"));
    let done = json!({ "taskId": task.id, "result": "Fixed the login.", "estimatedCost": 0.42 });
    world.say("c", "TASK_COMPLETE", done).await;
    world.dispatch_all().await;
    world.notify_all().await;
    assert!(shown(&world).contains("Fixed the login."));
    assert!(shown(&world).contains("ompleted"));
}

#[tokio::test]
async fn the_card_of_a_waiting_task_says_that_its_agent_is_offline() {
    let world = World::new().await;
    let task = world.run("fix it", "r").await;
    world.dispatch_all().await;
    world.calls.take();
    world.notify_all().await;
    let mut reads = world.calls.take();
    reads.retain(|call| call.starts_with("GetItem") || call.starts_with("Query"));
    assert_eq!(
        reads,
        [
            "GetItem TasksTable",
            "GetItem AgentsTable",
            "GetItem TasksTable"
        ]
    );
    let waits = "The agent was offline: the task waits until it is back.";
    assert!(shown(&world).contains(waits), "{}", shown(&world));
    world.connect("c").await;
    world.dispatch_queue().await;
    world.notify_all().await;
    assert!(!shown(&world).contains("offline"), "{}", shown(&world));
    // It waits for the agent that is there.
    let refusal = json!({ "taskId": task.id, "accepted": false, "reason": "full" });
    world.say("c", "TASK_ACK", refusal).await;
    world.dispatch_all().await;
    world.notify_all().await;
    assert!(shown(&world).contains("Waiting for agent"));
    assert!(!shown(&world).contains("offline"), "{}", shown(&world));
}

#[tokio::test]
async fn an_update_costs_reads_one_call_to_slack_and_two_writes() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.notifier().handle(refresh(task.id)).await.unwrap();
    let first = world.calls.take();
    assert_eq!(
        &first[first.len() - 4..],
        [
            "PutItem TasksTable",
            "chat.postMessage",
            "PutItem TasksTable",
            "UpdateItem TasksTable"
        ]
    );
    world
        .say(
            "c",
            "TASK_ACK",
            json!({ "taskId": task.id, "accepted": true }),
        )
        .await;
    world.calls.take();
    world.notifier().handle(refresh(task.id)).await.unwrap();
    let mut calls = world.calls.take();
    calls.sort_unstable();
    assert_eq!(
        calls,
        [
            "GetItem TasksTable",
            "GetItem TasksTable",
            "PutItem TasksTable",
            "Query TasksTable",
            "Query TasksTable",
            "UpdateItem TasksTable",
            "chat.update",
        ]
    );
}

#[tokio::test]
async fn an_unchanged_card_is_not_updated() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.notifier().handle(refresh(task.id)).await.unwrap();
    world.calls.take();
    world.notifier().handle(refresh(task.id)).await.unwrap();
    assert!(
        !world
            .calls
            .take()
            .iter()
            .any(|call| call.starts_with("chat.") || call.starts_with("conversations."))
    );
}

#[tokio::test]
async fn a_failure_at_any_call_neither_loses_the_message_nor_posts_it_twice() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            let task = world.dispatched().await;
            world.calls.fail(n, when);
            let _ = world.notifier().handle(refresh(task.id)).await;
            if world.calls.unused_failure() {
                break;
            }
            world.notifier().handle(refresh(task.id)).await.unwrap();
            assert!(shown(&world).contains("fix it"), "call {n} ({when:?})");
        }
    }
}

#[tokio::test]
async fn a_message_that_somebody_deleted_is_not_posted_again() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.notifier().handle(refresh(task.id)).await.unwrap();
    world.slack.delete_all();
    world
        .say(
            "c",
            "TASK_COMPLETE",
            json!({ "taskId": task.id, "result": "" }),
        )
        .await;
    world.calls.take();
    world.notify_all().await;
    assert!(world.calls.take().contains(&"chat.update".to_owned()));
    assert!(world.slack.messages().is_empty());
}

#[tokio::test]
async fn a_task_whose_card_slack_refuses_goes_on() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world
        .slack
        .fail(Fault::with_error("chat.postMessage", "is_archived"));
    world.notifier().handle(refresh(task.id)).await.unwrap();
    assert!(world.calls.take().contains(&"chat.postMessage".to_owned()));
    assert!(world.slack.messages().is_empty());
}

/// Waits until what was sent to the notifier is due.
fn wait(world: &World) {
    world.time.pass(FLUSH_INTERVAL);
}

/// When each message of the notifier's queue comes again, and what it was sent once under.
fn waits(world: &World) -> Vec<(Duration, String)> {
    let now = world.time.now().as_millis();
    let messages = world.aws.queue(queue_id(QueueName::Notifications)).peek();
    let wait = |message: Message| {
        let wait = Duration::from_millis(message.due - now);
        (wait, message.deduplication_id.unwrap())
    };
    messages.into_iter().map(wait).collect()
}

/// Enqueues a refresh of the task, in the `n`-th flush interval from now.
async fn send(world: &World, task_id: TaskId, n: u32) {
    let at = world.time.now() + FLUSH_INTERVAL * n;
    let tasks = [task_id];
    let sent = world.unobserved.notifications.enqueue_refreshes(&tasks, at);
    sent.await.unwrap();
}

#[tokio::test]
async fn a_rate_limited_refresh_waits_as_slack_asks_and_delays_no_other() {
    let world = World::new().await;
    let first = world.dispatched().await.id;
    let second = world.run("another", "r2").await.id;
    world.out.take_notified();
    world.time.pass(FLUSH_INTERVAL);
    for (task, n) in [(first, 0), (first, 1), (second, 0)] {
        send(&world, task, n).await;
    }
    let began = world.time.now();
    wait(&world);
    world.slack.fail(Fault::rate_limited("chat.postMessage", 7));
    let fed = world.feed_notifier().await;
    assert_eq!((fed.done, fed.failed.len()), (1, 2), "others do not wait");
    let once = |n| format!("{first}-{}", FlushInterval::of(began + FLUSH_INTERVAL * n));
    let expected = [0, 1].map(|n| (Duration::from_secs(7), once(n)));
    assert_eq!(
        waits(&world),
        expected,
        "one that stayed away longer would hold back the other"
    );
    assert!(shown(&world).contains("another"));
    world.time.pass(Duration::from_secs(7));
    assert_eq!(world.feed_notifier().await.done, 2);
    assert_eq!(world.slack.messages().len(), 2);
}

#[tokio::test]
async fn on_a_standard_queue_only_failed_messages_are_returned() {
    let world = World::new().await;
    world.connect("c").await;
    let task = world.run("fix it", "r").await.id;
    let again = (DispatchMessage::agent_queue(agent_id()), Duration::ZERO);
    world.unobserved.dispatch.send(&[again]).await.unwrap();
    // The first cannot pass on what is to be shown.
    world.calls.fail_at(0);
    let fed = world.feed_dispatcher().await;
    let [failed] = &fed.failed[..] else {
        panic!("{fed:?}")
    };
    assert!(failed.message.body.contains("refresh"), "{failed:?}");
    assert_eq!(fed.done, 1, "the other one is of the same agent");
    world.time.pass(Duration::from_secs(2));
    assert_eq!(world.feed_dispatcher().await.done, 1);
    assert!(world.out.to_show().contains(&task));
    assert_eq!(world.out.take_sent().len(), 1, "and was sent once");
}

#[tokio::test]
async fn a_failed_message_is_retried_after_twice_as_long_each_time() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    world.out.take_notified();
    send(&world, task, 1).await;
    wait(&world);
    let seconds = [(1, 2), (2, 4), (5, 32), (8, 180), (40, 180)];
    for received in 1..=40 {
        world.calls.fail_at(0);
        let fed = world.feed_notifier().await;
        assert_eq!(fed.failed.len(), 1, "received {received} times");
        let (delay, _) = waits(&world).remove(0);
        for (times, seconds) in seconds {
            if times == received {
                let expected = Duration::from_secs(seconds);
                assert_eq!(delay, expected, "received {received} times");
            }
        }
        world.time.pass(delay);
    }
}

/// A message that was received, as Lambda passes it on.
fn record(id: &str, task: TaskId) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(id.into());
    record.body = Some(serde_json::to_string(&refresh(task)).unwrap());
    let attributes = [
        ("MessageGroupId", task.to_string()),
        ("MessageDeduplicationId", id.to_owned()),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
    record.attributes = attributes.into();
    record
}

async fn notify(world: &World, records: Vec<SqsMessage>) -> SqsBatchResponse {
    let (notifier, source) = (
        world.notifier(),
        world.source_queue(QueueName::Notifications),
    );
    let mut event = SqsEvent::default();
    event.records = records;
    sqs::handle_each(event, &source, |message| notifier.handle(message)).await
}

#[tokio::test]
async fn only_the_unparsable_message_is_dead_lettered_and_one_without_an_id_is_not_named() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let mut garbled = record("garbled", task.id);
    garbled.body = Some("{}".into());
    let mut nameless = garbled.clone();
    nameless.message_id = None;
    for (record, group) in [(&mut garbled, "one"), (&mut nameless, "two")] {
        let group = group.to_owned();
        record.attributes.insert("MessageGroupId".to_owned(), group);
    }
    let records = vec![garbled, nameless, record("good", task.id)];
    let response = notify(&world, records).await;
    assert_eq!(response.batch_item_failures.len(), 0);
    assert!(shown(&world).contains("fix it"));
    let dead = world.dead_letters(QueueName::Notifications);
    let [letter] = &dead[..] else {
        panic!("{dead:?}")
    };
    let reason = letter.reason.as_ref().unwrap();
    assert_eq!(
        (&*reason.code, &*letter.body),
        ("INVALID_QUEUE_MESSAGE", "{}")
    );
    assert!(reason.text.contains("missing field"), "{reason:?}");
}

#[tokio::test]
async fn a_message_of_a_newer_version_waits_for_the_update() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let mut newer = record("newer", task.id);
    newer.body = Some(json!({ "kind": "celebrate", "taskId": task.id }).to_string());
    let response = notify(&world, vec![newer]).await;
    assert_eq!(
        response.batch_item_failures.len(),
        1,
        "it is received again"
    );
    assert!(world.dead_letters(QueueName::Notifications).is_empty());
    let unknown: DispatchMessage = serde_json::from_str(r#"{"kind":"nap","agentId":"a"}"#).unwrap();
    let error = world.dispatcher().handle(unknown).await.unwrap_err();
    assert_eq!(error.code(), "UNKNOWN_QUEUE_MESSAGE");
}

#[tokio::test]
async fn a_message_that_was_received_too_often_is_dead_lettered_with_its_reason() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let mut last = record("a", task.id);
    let times = "ApproximateReceiveCount";
    last.attributes.insert(times.into(), "50".into());
    world.calls.fail_at(0);
    let response = notify(&world, vec![last.clone()]).await;
    assert_eq!(response.batch_item_failures.len(), 0, "SQS forgets it");
    let dead = world.dead_letters(QueueName::Notifications);
    let reason = dead[0].reason.clone().unwrap();
    assert_eq!(reason.code, "STORE_UNAVAILABLE");
    // If that fails too, SQS moves it, without a reason.
    world.calls.take();
    let broken = json!({ "kind": "what" }).to_string();
    last.body = Some(broken);
    world.calls.fail_at(0);
    let response = notify(&world, vec![last]).await;
    assert_eq!(response.batch_item_failures.len(), 1);
}

#[tokio::test]
async fn an_answer_to_a_mention_is_posted_in_its_thread() {
    let world = World::new().await;
    let question = world.slack.post_as_person("@Bematic");
    let reply = TextReply {
        event_id: "Ev1".into(),
        channel_id: "C1".parse().unwrap(),
        thread_ts: question.parse().ok(),
        only_for: None,
        text: "Say what to do.".into(),
    };
    world
        .notifier()
        .handle(NotifyMessage::Reply(reply))
        .await
        .unwrap();
    let [_, answer] = world.slack.messages().try_into().unwrap();
    assert_eq!(answer.thread.unwrap().to_string(), question);
    assert!(answer.content.text.contains("Say what to do"));
}

#[tokio::test]
async fn the_bot_token_is_read_at_the_first_call_to_slack() {
    let world = World::new().await;
    let reply = TextReply {
        event_id: "Ev1".into(),
        channel_id: "C1".parse().unwrap(),
        thread_ts: None,
        only_for: None,
        text: "Say what to do.".into(),
    };
    world.calls.take();
    let notifier = world.notifier_that_reads_its_token();
    let failed = notifier.handle(NotifyMessage::Reply(reply)).await;
    assert_eq!(failed.unwrap_err().code(), "SLACK_UNAVAILABLE");
    assert_eq!(world.calls.take(), ["GetSecretValue BotToken"]);
}
