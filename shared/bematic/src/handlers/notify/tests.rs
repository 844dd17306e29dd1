use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use bematic_protocol::ids::TaskId;
use serde_json::json;

use crate::{handlers::sqs, ports::NotifyMessage, slack::api::SlackError, testing::World};

/// The whole text of the one message that Slack shows.
fn shown(world: &World) -> String {
    let slack = world.out.slack.lock().unwrap();
    assert_eq!(slack.len(), 1, "one message a task");
    let post = slack.values().next().unwrap();
    format!(
        "{} {}",
        post.message.text,
        serde_json::to_string(&post.message.blocks).unwrap()
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
async fn a_task_whose_agent_is_offline_says_so_while_it_waits() {
    let world = World::new().await;
    let task = world.run("fix it", "r").await;
    world.dispatch_all().await;
    world.calls.take();
    world.notify_all().await;
    let mut reads = world.calls.take();
    reads.retain(|call| call.starts_with("get") || call.starts_with("query"));
    assert_eq!(reads, ["get task", "get agent", "get card"]);
    let waits = "The agent was offline: the task waits until it is back.";
    assert!(shown(&world).contains(waits), "{}", shown(&world));
    world.connect("c").await;
    world.drain().await;
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
        ["put card", "slack post", "put card", "update task"]
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
            "get card",
            "get task",
            "put card",
            "query chunks",
            "query steps",
            "slack update",
            "update task"
        ]
    );
}

#[tokio::test]
async fn what_would_show_the_same_is_not_sent() {
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
            .any(|call| call.starts_with("slack"))
    );
}

#[tokio::test]
async fn a_failure_at_any_call_neither_loses_the_message_nor_posts_it_twice() {
    for n in 0.. {
        let world = World::new().await;
        let task = world.dispatched().await;
        world.calls.fail_at(n);
        let _ = world.notifier().handle(refresh(task.id)).await;
        if world.calls.unused_failure() {
            break;
        }
        world.notifier().handle(refresh(task.id)).await.unwrap();
        assert!(shown(&world).contains("fix it"), "call {n}");
    }
}

#[tokio::test]
async fn a_message_that_somebody_deleted_is_not_posted_again() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.notifier().handle(refresh(task.id)).await.unwrap();
    world.out.slack.lock().unwrap().clear();
    world
        .say(
            "c",
            "TASK_COMPLETE",
            json!({ "taskId": task.id, "result": "" }),
        )
        .await;
    world.notify_all().await;
    assert!(world.out.slack.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_task_that_slack_refuses_to_show_goes_on_without() {
    let world = World::new().await;
    let task = world.dispatched().await;
    *world.out.slack_says.lock().unwrap() = Some(SlackError::Refused {
        method: "chat.postMessage",
        error: "is_archived".into(),
    });
    world.notifier().handle(refresh(task.id)).await.unwrap();
    assert!(world.out.slack.lock().unwrap().is_empty());
}

fn record(id: &str, task: TaskId) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(id.into());
    record.receipt_handle = Some(format!("receipt-{id}"));
    record.body = Some(serde_json::to_string(&refresh(task)).unwrap());
    record
        .attributes
        .insert("MessageGroupId".into(), task.to_string());
    record
        .attributes
        .insert("MessageDeduplicationId".into(), id.into());
    record
}

fn batch(records: Vec<SqsMessage>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = records;
    event
}

async fn notify(world: &World, event: SqsEvent) -> SqsBatchResponse {
    let notifier = world.notifier();
    sqs::each(event, &*world.out, |message| notifier.handle(message)).await
}

#[tokio::test]
async fn a_task_that_slack_has_no_time_for_waits_as_slack_says_and_alone() {
    let world = World::new().await;
    let first = world.dispatched().await;
    let second = world.run("another", "r2").await;
    *world.out.slack_says.lock().unwrap() = Some(SlackError::RateLimited {
        method: "chat.postMessage",
        retry_after: Duration::from_secs(7),
    });
    let records = vec![
        record("a", first.id),
        record("b", first.id),
        record("c", second.id),
    ];
    let response = notify(&world, batch(records)).await;
    let failed: Vec<_> = response
        .batch_item_failures
        .iter()
        .map(|item| item.item_identifier.as_str())
        .collect();
    assert_eq!(
        failed,
        ["a", "b"],
        "the rest of its group waits, others do not"
    );
    let postponed = world.out.postponed.lock().unwrap().clone();
    let waits = ["receipt-a", "receipt-b"].map(|it| (it.to_owned(), Duration::from_secs(7)));
    assert_eq!(
        postponed, waits,
        "one that stayed away longer would hold back the other"
    );
    assert!(shown(&world).contains("another"));
}

#[tokio::test]
async fn on_a_standard_queue_only_what_failed_comes_back() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let mut records = vec![record("a", task.id), record("b", task.id)];
    for record in &mut records {
        record.attributes.remove("MessageDeduplicationId");
    }
    world.calls.fail_at(0);
    let response = notify(&world, batch(records)).await;
    let failed: Vec<_> = response
        .batch_item_failures
        .iter()
        .map(|item| item.item_identifier.as_str())
        .collect();
    assert_eq!(failed, ["a"]);
    assert!(shown(&world).contains("fix it"));
}

#[tokio::test]
async fn what_failed_comes_back_soon_and_later_each_time() {
    let world = World::new().await;
    let task = world.dispatched().await;
    for (received, wait) in [("1", 2), ("2", 4), ("5", 32), ("40", 180)] {
        let mut record = record("a", task.id);
        record
            .attributes
            .insert("ApproximateReceiveCount".into(), received.into());
        world.calls.fail_at(0);
        let response = notify(&world, batch(vec![record])).await;
        assert_eq!(response.batch_item_failures.len(), 1);
        let (_, delay) = world.out.postponed.lock().unwrap().pop().unwrap();
        assert_eq!(
            delay,
            Duration::from_secs(wait),
            "received {received} times"
        );
    }
}

#[tokio::test]
async fn a_message_that_is_not_understood_is_given_up_alone_and_one_without_an_id_is_not_named() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let mut garbled = record("garbled", task.id);
    garbled.body = Some("{}".into());
    garbled.attributes.clear();
    let mut nameless = garbled.clone();
    nameless.message_id = None;
    let records = vec![garbled, nameless, record("good", task.id)];
    let response = notify(&world, batch(records)).await;
    assert_eq!(response.batch_item_failures.len(), 0);
    assert!(shown(&world).contains("fix it"));
    let dead = world.out.dead.lock().unwrap();
    let reasons: Vec<_> = dead.iter().map(|letter| (&*letter.id, letter)).collect();
    let [("garbled", letter)] = reasons[..] else {
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
async fn a_message_is_given_up_with_its_reason_once_it_was_received_too_often() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let mut last = record("a", task.id);
    let times = "ApproximateReceiveCount";
    last.attributes.insert(times.into(), "50".into());
    world.calls.fail_at(0);
    let response = notify(&world, batch(vec![last.clone()])).await;
    assert_eq!(response.batch_item_failures.len(), 0, "SQS forgets it");
    let reason = world.out.dead.lock().unwrap()[0].reason.clone().unwrap();
    assert_eq!(reason.code, "STORE_UNAVAILABLE");
    // If that fails too, SQS moves it, without a reason.
    world.calls.take();
    let broken = json!({ "kind": "what" }).to_string();
    last.body = Some(broken);
    world.calls.fail_at(0);
    let response = notify(&world, batch(vec![last])).await;
    assert_eq!(response.batch_item_failures.len(), 1);
}

#[tokio::test]
async fn an_answer_to_a_mention_is_posted_in_its_thread() {
    let world = World::new().await;
    let reply = NotifyMessage::Reply {
        event_id: "Ev1".into(),
        channel_id: "C1".parse().unwrap(),
        thread_ts: "1700000000.000001".parse().unwrap(),
        text: "Say what to do.".into(),
    };
    world.notifier().handle(reply).await.unwrap();
    let slack = world.out.slack.lock().unwrap();
    let post = slack.values().next().unwrap();
    assert!(post.to.thread_ts.is_some() && post.message.text.contains("Say what to do"));
}
