//! Queues.

use aws_sdk_sqs::{
    operation::{
        receive_message::ReceiveMessageOutput, send_message::builders::SendMessageFluentBuilder,
    },
    types::{
        ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue,
        MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
    },
};

use super::*;

fn send(it: &Fixture, queue: &str, body: &str) -> SendMessageFluentBuilder {
    it.sqs
        .send_message()
        .queue_url(it.url(queue))
        .message_body(body)
}

fn news(it: &Fixture, group: &str, once: &str) -> SendMessageFluentBuilder {
    send(it, "News", once)
        .message_group_id(group)
        .message_deduplication_id(once)
}

/// The bodies of what a receive of 10 gets.
fn bodies(it: &Fixture, queue: &str) -> Vec<String> {
    let received = it.aws.queue(queue).receive(10);
    received.into_iter().map(|it| it.message.body).collect()
}

async fn receive(it: &Fixture, queue: &str) -> ReceiveMessageOutput {
    let receive = it
        .sqs
        .receive_message()
        .queue_url(it.url(queue))
        .max_number_of_messages(10);
    receive.send().await.unwrap()
}

#[tokio::test]
async fn a_message_waits_for_its_delay_or_its_queues() {
    let it = Fixture::new();
    send(&it, "Work", "late")
        .delay_seconds(900)
        .send()
        .await
        .unwrap();
    send(&it, "Work", "now").send().await.unwrap();
    news(&it, "g", "news").send().await.unwrap();
    assert_eq!(it.aws.queue("Work").next_due(), Some(START));
    assert_eq!(bodies(&it, "Work"), ["now"]);
    assert_eq!(it.aws.next_due(), Some(START + 3000));
    assert!(bodies(&it, "News").is_empty());
    it.pass(Duration::from_secs(3));
    assert_eq!(bodies(&it, "News"), ["news"]);
    it.pass(Duration::from_secs(897));
    let peeked = it.aws.queue("Work").peek();
    let peeked: Vec<_> = peeked
        .iter()
        .map(|it| (it.body.as_str(), it.due - START, it.delayed, it.receives))
        .collect();
    assert_eq!(
        peeked,
        [("now", 90_000, false, 1), ("late", 900_000, true, 0)]
    );
    assert_eq!(bodies(&it, "Work"), ["now", "late"]);
}

#[tokio::test]
async fn a_message_is_invisible_until_its_timeout_and_then_comes_again() {
    let it = Fixture::new();
    send(&it, "Work", "a").send().await.unwrap();
    let first = receive(&it, "Work").await.messages.unwrap().remove(0);
    assert!(receive(&it, "Work").await.messages().is_empty());
    it.pass(Duration::from_secs(90));
    let second = receive(&it, "Work").await.messages.unwrap().remove(0);
    assert_eq!(first.message_id, second.message_id);
    let delete = |handle: &str| {
        it.sqs
            .delete_message()
            .queue_url(it.url("Work"))
            .receipt_handle(handle)
            .send()
    };
    delete(first.receipt_handle().unwrap()).await.unwrap();
    assert_eq!(
        it.count("Work"),
        1,
        "a handle of an earlier receive deletes nothing"
    );
    delete(second.receipt_handle().unwrap()).await.unwrap();
    assert_eq!(it.count("Work"), 0);
    delete(second.receipt_handle().unwrap()).await.unwrap();
    assert_eq!(code(delete("nonsense").await), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn visibility_changes_for_what_is_in_flight() {
    let it = Fixture::new();
    send(&it, "Work", "a").send().await.unwrap();
    let received = it.aws.queue("Work").receive(1).remove(0);
    let change = |handle: &str, seconds: i32| {
        let change = it.sqs.change_message_visibility().queue_url(it.url("Work"));
        change
            .receipt_handle(handle)
            .visibility_timeout(seconds)
            .send()
    };
    let handle = &received.receipt_handle;
    assert_eq!(code(change("nonsense", 1).await), "ReceiptHandleIsInvalid");
    assert_eq!(code(change(handle, 43_201).await), "InvalidParameterValue");
    change(handle, 5).await.unwrap();
    assert_eq!(it.aws.next_due(), Some(START + 5000));
    it.pass(Duration::from_secs(1));
    assert_eq!(
        code(change(handle, 43_200).await),
        "InvalidParameterValue",
        "12 h from the receive on"
    );
    change(handle, 0).await.unwrap();
    assert_eq!(
        code(change(handle, 1).await),
        "AWS.SimpleQueueService.MessageNotInflight"
    );
    let again = it.aws.queue("Work").receive(1).remove(0);
    assert_eq!(again.message.receives, 2);
    assert_eq!(
        code(change(handle, 1).await),
        "AWS.SimpleQueueService.MessageNotInflight"
    );
    it.aws
        .queue("Work")
        .change_visibility(&again.receipt_handle, 7)
        .unwrap();
    assert_eq!(it.aws.next_due(), Some(START + 8000));
    it.aws.queue("Work").delete(&again.receipt_handle);
    assert_eq!(
        code(change(&again.receipt_handle, 1).await),
        "InvalidParameterValue"
    );
}

#[tokio::test]
async fn what_is_received_too_often_goes_to_the_dead_letter_queue() {
    let it = Fixture::new();
    send(&it, "Work", "a").send().await.unwrap();
    news(&it, "g", "1").send().await.unwrap();
    news(&it, "g", "2").send().await.unwrap();
    it.pass(Duration::from_secs(3));
    for (queue, first) in [("Work", "a"), ("News", "1")] {
        for _ in 0..2 {
            let received = it.aws.queue(queue).receive(1).remove(0);
            assert_eq!(received.message.body, first);
            it.aws
                .queue(queue)
                .change_visibility(&received.receipt_handle, 0)
                .unwrap();
        }
    }
    assert!(bodies(&it, "Work").is_empty());
    assert_eq!(bodies(&it, "News"), ["2"], "what is behind it is free");
    let dead = it.aws.queue("WorkDead").receive(1).remove(0);
    assert_eq!(
        dead.message.sent, START,
        "a standard queue keeps when it was sent"
    );
    let dead = it.aws.queue("NewsDead").peek().remove(0);
    assert_eq!((dead.body.as_str(), dead.sent), ("1", START + 3000));
}

#[tokio::test]
async fn a_fifo_queue_keeps_the_order_of_a_group_and_holds_it_while_one_is_in_flight() {
    let it = Fixture::new();
    for (group, once) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")] {
        news(&it, group, once).send().await.unwrap();
    }
    it.pass(Duration::from_secs(3));
    let queue = it.aws.queue("News");
    let first = queue.receive(2);
    let got: Vec<_> = first.iter().map(|it| it.message.body.as_str()).collect();
    assert_eq!(got, ["a1", "a2"]);
    assert_eq!(bodies(&it, "News"), ["b1"], "a is held");
    queue.delete(&first[0].receipt_handle);
    assert!(bodies(&it, "News").is_empty(), "a2 is in flight");
    queue
        .change_visibility(&first[1].receipt_handle, 0)
        .unwrap();
    assert_eq!(queue.next_due(), Some(START + 3000));
    assert_eq!(bodies(&it, "News"), ["a2", "a3"], "what came back is first");
}

#[tokio::test]
async fn an_expired_handle_of_a_fifo_queue_is_refused() {
    let it = Fixture::new();
    news(&it, "g", "1").send().await.unwrap();
    it.pass(Duration::from_secs(3));
    let received = it.aws.queue("News").receive(1).remove(0);
    it.pass(Duration::from_mins(3));
    let delete = it
        .sqs
        .delete_message()
        .queue_url(it.url("News"))
        .receipt_handle(received.receipt_handle);
    assert_eq!(code(delete.send().await), "InvalidParameterValue");
}

#[tokio::test]
async fn a_de_duplication_id_counts_for_five_minutes() {
    let it = Fixture::new();
    let first = news(&it, "g", "1").send().await.unwrap();
    it.pass(Duration::from_secs(299));
    let received = it.aws.queue("News").receive(1).remove(0);
    it.aws.queue("News").delete(&received.receipt_handle);
    let second = news(&it, "other", "1").send().await.unwrap();
    assert_eq!(second.message_id(), first.message_id());
    assert_eq!(it.count("News"), 0, "even though the first is deleted");
    it.pass(Duration::from_secs(1));
    let third = news(&it, "g", "1").send().await.unwrap();
    assert_ne!(third.message_id(), first.message_id());
    // Within a group.
    for (group, once) in [("a", "x"), ("b", "x"), ("a", "x"), ("a", "y")] {
        let send = send(&it, "Grouped", "body").message_group_id(group);
        let send = send.message_deduplication_id(once);
        send.send().await.unwrap();
    }
    assert_eq!(it.count("Grouped"), 3);
}

#[tokio::test]
async fn what_sqs_refuses_of_a_message_is_refused() {
    let it = Fixture::new();
    let refused = async |send: SendMessageFluentBuilder| code(send.send().await);
    let work = || send(&it, "Work", "a");
    let invalid = "InvalidParameterValue";
    assert_eq!(refused(work().delay_seconds(901)).await, invalid);
    assert_eq!(refused(work().delay_seconds(-1)).await, invalid);
    assert_eq!(refused(work().message_deduplication_id("1")).await, invalid);
    assert_eq!(
        refused(work().message_group_id("with space")).await,
        invalid
    );
    assert_eq!(
        refused(work().message_group_id("x".repeat(129))).await,
        invalid
    );
    assert_eq!(refused(send(&it, "Work", "")).await, "MissingParameter");
    assert_eq!(
        refused(send(&it, "Work", "\u{0}")).await,
        "InvalidMessageContents"
    );
    assert_eq!(
        refused(send(&it, "Work", &"x".repeat(1_048_577))).await,
        invalid
    );
    send(&it, "Work", &"x".repeat(1_048_576))
        .send()
        .await
        .unwrap();
    let unknown = it
        .sqs
        .send_message()
        .queue_url("http://aws.invalid/000000000000/Nothing");
    assert_eq!(
        refused(unknown.message_body("a")).await,
        "AWS.SimpleQueueService.NonExistentQueue"
    );
    let one = || news(&it, "g", "1");
    assert_eq!(refused(one().delay_seconds(1)).await, invalid);
    assert_eq!(
        refused(one().set_message_group_id(None)).await,
        "MissingParameter"
    );
    assert_eq!(
        refused(one().set_message_deduplication_id(None)).await,
        invalid
    );
    let attribute = |text: &str| {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(text);
        value.build().unwrap()
    };
    let many = (0..11).fold(work(), |work, n| {
        work.message_attributes(n.to_string(), attribute("x"))
    });
    assert_eq!(refused(many).await, invalid);
    let large = send(&it, "Work", &"x".repeat(1_048_570)).message_attributes("a", attribute("x"));
    assert_eq!(refused(large).await, invalid, "attributes count as well");
    assert_eq!(it.count("Work"), 1);
}

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_batch_has_ten_distinct_entries_that_stand_alone() {
    let it = Fixture::new();
    let batch = |entries: Vec<_>| {
        let batch = it.sqs.send_message_batch().queue_url(it.url("Work"));
        batch.set_entries(Some(entries)).send()
    };
    let numbered = |count: usize| {
        (0..count)
            .map(|n| entry(&n.to_string(), "x"))
            .collect::<Vec<_>>()
    };
    let codes = [
        code(batch(vec![]).await),
        code(batch(numbered(11)).await),
        code(batch(vec![entry("1", "x"), entry("1", "y")]).await),
        code(batch(vec![entry("a b", "x")]).await),
        code(
            batch(vec![
                entry("1", &"x".repeat(600_000)),
                entry("2", &"x".repeat(600_000)),
            ])
            .await,
        ),
    ];
    let expected = [
        "EmptyBatchRequest",
        "TooManyEntriesInBatchRequest",
        "BatchEntryIdsNotDistinct",
        "InvalidBatchEntryId",
        "BatchRequestTooLong",
    ];
    assert_eq!(
        codes,
        expected.map(|it| format!("AWS.SimpleQueueService.{it}"))
    );
    assert_eq!(it.count("Work"), 0);
    it.aws.calls().take();
    let late = SendMessageBatchRequestEntry::builder()
        .id("late")
        .message_body("x")
        .delay_seconds(901);
    let answer = batch(vec![entry("ok", "x"), late.build().unwrap()])
        .await
        .unwrap();
    assert_eq!(answer.successful()[0].id(), "ok");
    assert_eq!(
        (answer.failed()[0].id(), answer.failed()[0].code()),
        ("late", "InvalidParameterValue")
    );
    let call = it.aws.calls().take().remove(0);
    assert_eq!(call.message_ids, [answer.successful()[0].message_id()]);
    assert_eq!(call.to_string(), "SendMessageBatch Work");
    batch(numbered(10)).await.unwrap();
    assert_eq!(it.count("Work"), 11);
    let received = receive(&it, "Work").await.messages.unwrap();
    let change = received.iter().enumerate().map(|(n, message)| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
        entry
            .receipt_handle(message.receipt_handle().unwrap())
            .visibility_timeout(0)
            .build()
            .unwrap()
    });
    let changed = it
        .sqs
        .change_message_visibility_batch()
        .queue_url(it.url("Work"));
    let changed = changed
        .set_entries(Some(change.collect()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (changed.successful().len(), changed.failed().len()),
        (10, 0)
    );
    assert_eq!(it.aws.queue("Work").receive(10).len(), 10);
}

#[tokio::test]
async fn a_received_message_has_the_attributes_that_are_asked_for() {
    let it = Fixture::new();
    let value = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("why")
        .build()
        .unwrap();
    let send = send(&it, "Work", "a")
        .message_group_id("fair")
        .message_attributes("reason", value);
    send.send().await.unwrap();
    let call = it.aws.calls().take().remove(0);
    assert!(call.fair && !call.fifo);
    let receive = it
        .sqs
        .receive_message()
        .queue_url(it.url("Work"))
        .visibility_timeout(0);
    let plain = receive
        .clone()
        .send()
        .await
        .unwrap()
        .messages
        .unwrap()
        .remove(0);
    assert!(
        plain
            .attributes()
            .is_none_or(std::collections::HashMap::is_empty)
    );
    assert!(
        plain
            .message_attributes()
            .is_none_or(std::collections::HashMap::is_empty)
    );
    let all = receive
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All");
    let all = all.send().await.unwrap().messages.unwrap().remove(0);
    let system = all.attributes().unwrap();
    assert_eq!(system[&MessageSystemAttributeName::MessageGroupId], "fair");
    assert_eq!(
        system[&MessageSystemAttributeName::SentTimestamp],
        START.to_string()
    );
    assert_eq!(
        system[&MessageSystemAttributeName::ApproximateReceiveCount],
        "2"
    );
    assert!(!system.contains_key(&MessageSystemAttributeName::SequenceNumber));
    assert_eq!(
        all.message_attributes().unwrap()["reason"].string_value(),
        Some("why")
    );
}

#[tokio::test]
async fn a_queue_reports_how_many_messages_there_are() {
    let it = Fixture::new();
    for body in ["a", "b", "c"] {
        send(&it, "Work", body).send().await.unwrap();
    }
    send(&it, "Work", "late")
        .delay_seconds(5)
        .send()
        .await
        .unwrap();
    it.aws.queue("Work").receive(1);
    let attributes = it.sqs.get_queue_attributes().queue_url(it.url("Work"));
    let attributes = attributes
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .unwrap();
    let attributes: BTreeMap<_, _> = attributes
        .attributes()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let count = |kind: &str| attributes[format!("ApproximateNumberOfMessages{kind}").as_str()];
    assert_eq!(
        (count(""), count("NotVisible"), count("Delayed")),
        ("2", "1", "1")
    );
    it.aws.queue("Work").purge();
    assert_eq!((it.count("Work"), it.aws.next_due()), (0, None));
}

#[tokio::test]
async fn a_receive_has_limits() {
    let it = Fixture::new();
    let receive = || it.sqs.receive_message().queue_url(it.url("Work"));
    let invalid = "InvalidParameterValue";
    assert_eq!(
        code(receive().max_number_of_messages(11).send().await),
        invalid
    );
    assert_eq!(
        code(receive().max_number_of_messages(0).send().await),
        invalid
    );
    assert_eq!(
        code(receive().visibility_timeout(43_201).send().await),
        invalid
    );
    assert_eq!(code(receive().wait_time_seconds(21).send().await), invalid);
}
