//! Bulk work: all tasks of a channel, chunk by chunk.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bematic::{
    batch::{Batch, BatchKind, BatchState},
    command::Command,
};
use bematic_protocol::{ids::TaskId, time::Clock};
use fake_aws::{Call, Failure, FailurePoint, FakeAws, Hook};
use futures::future::join_all;
use serde_json::json;

use crate::world::{World, execute, states};

/// Many tasks of an agent that is away.
async fn waiting(world: &World, count: usize) {
    for n in 0..count {
        world.run(&format!("task {n}"), &format!("r{n}")).await;
        world.time.pass(Duration::from_millis(1));
    }
    world.out.take_dispatched();
    world.out.take_notified();
    world.calls.take();
}

fn the_batch(world: &World) -> Batch {
    world.store.all_batches().pop().unwrap()
}

#[tokio::test]
async fn all_waiting_tasks_are_cancelled_and_a_bar_shows_how_far_it_is() {
    let world = World::new().await;
    waiting(&world, 120).await;
    let said = execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    assert!(said.contains("a message here follows it"), "{said}");
    world.work_on_batches().await;
    assert_eq!(states(&world), [("cancelled", 120)]);
    world.notify_all().await;
    let shown = world.slack.text();
    assert!(shown.contains("100 %"), "{shown}");
    assert!(shown.contains("120 of 120 looked at: 120 changed, 0 left as they were"));
    assert!(shown.contains("no_entry_sign"), "each task's card follows");
    world.connect("c").await;
    world.dispatch_queue().await;
    assert!(world.out.take_sent().is_empty(), "the queue is empty");
}

#[tokio::test]
async fn half_way_the_bar_is_half_full() {
    let world = World::new().await;
    waiting(&world, 98).await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    // Counted, and one chunk: then the queue does not take the next message.
    world.calls.fail_at(6);
    let fed = world.feed_batch_worker().await;
    assert_eq!((fed.done, fed.failed.len()), (0, 1));
    world.notify_all().await;
    let shown = world.slack.text();
    assert!(
        shown.contains("Cancelling all tasks of this channel"),
        "{shown}"
    );
    assert!(shown.contains("`██████████░░░░░░░░░░` 50 %"), "{shown}");
}

#[tokio::test]
async fn a_chunk_costs_two_reads_a_transaction_and_a_message_for_each_ten_tasks() {
    let world = World::new().await;
    waiting(&world, 49).await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    world.calls.take();
    world.work_on_batches().await;
    let calls = world.calls.take();
    assert_eq!(
        calls[..6],
        [
            "GetItem TasksTable",
            "Query TasksTable/channel",
            "TransactWriteItems TasksTable",
            "Query TasksTable/channel",
            "BatchGetItem TasksTable",
            "TransactWriteItems TasksTable"
        ]
    );
    let count = |name| calls.iter().filter(|call| *call == name).count();
    // Five for the tasks, one for the chunk, one for the end.
    assert_eq!(count("SendMessageBatch NotificationsQueue"), 5);
    assert_eq!(count("SendMessage NotificationsQueue"), 2);
    assert_eq!(count("SendMessage DispatchQueue"), 1);
    assert_eq!(calls.len(), 14);
}

#[tokio::test]
async fn a_task_that_has_changed_meanwhile_is_changed_by_itself_and_holds_up_no_other() {
    let world = World::new().await;
    waiting(&world, 30).await;
    world.store.lag();
    world.connect("c").await;
    world.dispatch_queue().await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    world.calls.take();
    world.work_on_batches().await;
    world.store.catch_up();
    // Five are at the agent, which is told to stop them.
    assert_eq!(states(&world), [("cancelled", 25), ("dispatched", 5)]);
    let calls = world.calls.take();
    let transactions = calls
        .iter()
        .filter(|call| *call == "TransactWriteItems TasksTable");
    assert_eq!(transactions.count(), 3, "begun, refused, done: {calls:?}");
    let tally = the_batch(&world).tally;
    assert_eq!((tally.changed, tally.failed), (30, 0));
    world.pass(Duration::from_secs(31)).await;
    assert_eq!(states(&world), [("cancelled", 30)]);
}

/// Changes a task before each of the first three transactions of bulk work.
struct Meanwhile {
    aws: FakeAws,
    task: TaskId,
    transactions: AtomicUsize,
}

#[async_trait]
impl Hook for Meanwhile {
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        if call.operation == "TransactWriteItems"
            && self.transactions.fetch_add(1, Ordering::SeqCst) < 3
        {
            let (table, key) = ("TasksTable", [&*format!("TASK#{}", self.task), "TASK"]);
            let mut task = self.aws.tables().item(table, &key).unwrap();
            let version: u64 = task["version"].as_n().unwrap().parse().unwrap();
            let next = serde_dynamo::to_attribute_value(version + 1).unwrap();
            task.insert("version".to_owned(), next);
            self.aws.tables().put(table, &task);
        }
        None
    }
}

#[tokio::test]
async fn a_task_that_changes_again_while_it_is_changed_by_itself_is_changed_all_the_same() {
    let world = World::new().await;
    waiting(&world, 3).await;
    let task = world.store.all_tasks()[1].id;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    world.aws.add_hook(Meanwhile {
        aws: world.aws.clone(),
        task,
        transactions: AtomicUsize::new(0),
    });
    world.calls.take();
    world.work_on_batches().await;
    let calls = world.calls.take();
    let read_again = "BatchGetItem AgentsTable TasksTable".to_owned();
    assert!(calls.contains(&read_again), "{calls:?}");
    assert_eq!(states(&world), [("cancelled", 3)]);
    let tally = the_batch(&world).tally;
    assert_eq!((tally.changed, tally.failed), (3, 0));
}

/// Has every call take 15 s.
struct Slow<F>(F);

#[async_trait]
impl<F: Fn(Duration) + Send + Sync> Hook for Slow<F> {
    async fn after_call(&self, _: &Call) {
        self.0(Duration::from_secs(15));
    }
}

#[tokio::test]
async fn work_that_takes_longer_than_an_invocation_may_goes_on_in_the_next_one() {
    let world = World::new().await;
    waiting(&world, 60).await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    let time = world.time.clone();
    world.aws.add_hook(Slow(move |it| time.pass(it)));
    assert_eq!(world.feed_batch_worker().await.done, 1);
    assert_eq!(states(&world), [("cancelled", 49), ("pending", 11)]);
    assert_eq!(world.out.batches().len(), 1);
    world.work_on_batches().await;
    assert_eq!(states(&world), [("cancelled", 60)]);
}

#[tokio::test]
async fn a_bulk_retry_retries_failed_tasks_only() {
    let world = World::new().await;
    let failed = world.dispatched().await;
    let error = json!({ "taskId": failed.id, "error": "broken" });
    world.say("c", "TASK_ERROR", error).await;
    waiting(&world, 3).await;
    execute(&world, Command::Bulk(BatchKind::Retry)).await;
    world.work_on_batches().await;
    let tally = the_batch(&world).tally;
    assert_eq!((tally.changed, tally.unchanged), (1, 3));
    assert_eq!(states(&world), [("pending", 4)]);
    let told = world.out.take_dispatched();
    assert!(!told.is_empty(), "the agent's queue is to be dispatched");
}

#[tokio::test]
async fn ended_tasks_are_archived_and_left_out_of_lists() {
    let world = World::new().await;
    waiting(&world, 150).await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    world.work_on_batches().await;
    world.run("still waits", "last").await;
    execute(&world, Command::Bulk(BatchKind::Archive)).await;
    world.work_on_batches().await;
    let tally = the_batch(&world).tally;
    assert_eq!((tally.changed, tally.unchanged), (150, 1));
    let list = execute(&world, Command::Tasks).await;
    assert!(
        list.contains("still waits") && !list.contains("cancelled"),
        "{list}"
    );
}

#[tokio::test]
async fn a_failure_at_any_call_neither_loses_nor_counts_a_task_twice() {
    for n in 0.. {
        let world = World::new().await;
        waiting(&world, 60).await;
        // One has changed since, as far as the index knows.
        world.store.lag();
        let stale = world.store.all_tasks()[30].id;
        execute(&world, Command::Cancel(stale)).await;
        world.out.take_dispatched();
        execute(&world, Command::Bulk(BatchKind::Cancel)).await;
        world.calls.fail_at(n);
        let first = world.feed_batch_worker().await;
        if world.calls.unused_failure() {
            break;
        }
        let again = first.failed.len();
        assert_eq!(again, 1, "call {n} failed, and SQS was not told");
        world.time.pass(Duration::from_secs(2));
        assert_eq!(world.feed_batch_worker().await.done, 1, "call {n}");
        let batch = the_batch(&world);
        assert!(matches!(
            batch.state,
            BatchState::Finished { total: 60, .. }
        ));
        let tally = batch.tally;
        assert_eq!((tally.changed, tally.unchanged), (59, 1), "call {n}");
        assert_eq!(states(&world), [("cancelled", 60)]);
        // Cards that nobody was told of are found: a long look, for some.
        if n % 4 != 0 {
            continue;
        }
        world.store.catch_up();
        world.pass(Duration::from_mins(2)).await;
        world.notify_all().await;
        let unshown = world.store.all_tasks();
        let unshown = unshown.iter().filter(|task| task.shown < task.version);
        assert_eq!(unshown.count(), 0, "call {n}");
    }
}

#[tokio::test]
async fn two_workers_at_once_count_every_task_once() {
    for seed in 0..8 {
        let world = World::new().await;
        waiting(&world, 150).await;
        execute(&world, Command::Bulk(BatchKind::Cancel)).await;
        let message = world.out.take_batches().pop().unwrap();
        world.calls.interleave(seed);
        let workers = [world.batch_worker(), world.batch_worker()];
        for done in join_all(workers.iter().map(|worker| worker.handle(message))).await {
            done.unwrap();
        }
        assert_eq!(the_batch(&world).tally.changed, 150, "seed {seed}");
        assert_eq!(states(&world), [("cancelled", 150)]);
    }
}

#[tokio::test]
async fn the_sweeper_resumes_a_bulk_operation_whose_message_was_lost() {
    let world = World::new().await;
    waiting(&world, 10).await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    world.out.take_batches();
    world.pass(Duration::from_mins(2)).await;
    world.work_on_batches().await;
    assert_eq!(states(&world), [("cancelled", 10)]);
    // So is its end, until Slack shows it.
    world.out.take_notified();
    world.pass(Duration::from_mins(6)).await;
    world.work_on_batches().await;
    world.notify_all().await;
    let shown = world.slack.text();
    assert!(shown.contains("being stopped: 10"), "{shown}");
    world.pass(Duration::from_mins(4)).await;
    assert!(world.out.batches().is_empty(), "done is done");
}

#[tokio::test]
async fn tasks_created_after_a_bulk_operation_are_not_changed_however_late_it_begins() {
    let world = World::new().await;
    waiting(&world, 3).await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    world.time.pass(Duration::from_millis(1));
    world.run("asked for later", "later").await;
    world.work_on_batches().await;
    assert_eq!(states(&world), [("cancelled", 3), ("pending", 1)]);
    assert!(matches!(
        the_batch(&world).state,
        BatchState::Finished { total: 3, .. }
    ));
}

#[tokio::test]
async fn a_stalled_bulk_operation_is_enqueued_after_twice_as_long_each_time() {
    let world = World::new().await;
    waiting(&world, 1).await;
    execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    world.out.take_batches();
    world.pass(Duration::from_hours(1)).await;
    let told = world.out.batches().len();
    assert!((4..=6).contains(&told), "{told} times in an hour");
}

#[tokio::test]
async fn a_repeated_request_is_one_bulk_operation() {
    let world = World::new().await;
    waiting(&world, 2).await;
    for _ in 0..2 {
        execute(&world, Command::Bulk(BatchKind::Cancel)).await;
    }
    assert_eq!(world.store.all_batches().len(), 1);
    assert!(the_batch(&world).created_at <= world.time.now());
}
