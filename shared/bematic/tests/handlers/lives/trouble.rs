//! Connections that are not what they seem, words that are lost, and what must not come of them.

use std::time::Duration;

use bematic::{
    command::Command,
    handlers::{dispatch::Dispatcher, message::MessageRouter},
    ports::DispatchMessage,
    task::{SHOWN_WITHIN, TaskState},
};
use bematic_protocol::{ids::TaskId, messages::CloudMessage, time::Clock};
use fake_aws::FailurePoint;
use futures::future::join;
use serde_json::{Value, json};

use crate::world::{DISPATCHER, World, agent_id, execute, states};

/// The attempts that were sent, and the tasks that are to be stopped, since the last time.
fn sent(world: &World) -> (Vec<u32>, Vec<TaskId>) {
    let (mut attempts, mut stops) = (Vec::new(), Vec::new());
    for (_, message) in world.out.take_sent() {
        match message {
            CloudMessage::TaskSubmit(submit) => {
                attempts.extend(submit.attempt.map(bematic_protocol::ids::Attempt::number));
            }
            CloudMessage::TaskCancel(cancel) => stops.push(cancel.task_id),
            _ => {}
        }
    }
    (attempts, stops)
}

fn status(active: &[TaskId], capacity: u32) -> Value {
    json!({ "agentId": "box", "status": "online", "activeTasks": active, "capacity": capacity })
}

/// A task whose delivery was said to have failed, though it arrived.
async fn undelivered(world: &World) -> TaskId {
    world.connect("c").await;
    let task = world.run("fix it", "r").await.id;
    world.out.seems_gone("c");
    world.dispatch_all().await;
    assert_eq!(sent(world).0, [1]);
    assert_eq!(states(world), [("pending", 1)]);
    task
}

#[tokio::test]
async fn a_cancelled_task_that_was_delivered_after_all_is_stopped_and_its_late_result_is_kept() {
    let world = World::new().await;
    let task = undelivered(&world).await;
    execute(&world, Command::Cancel(task)).await;
    world.connect("c2").await;
    let progress = json!({ "taskId": task, "attempt": 1, "progress": 50 });
    let answers = world.say("c2", "TASK_PROGRESS", progress).await;
    assert!(
        matches!(&answers[..], [CloudMessage::TaskCancel(_)]),
        "{answers:?}"
    );
    let done = json!({ "taskId": task, "attempt": 1, "result": "done" });
    let answers = world.say("c2", "TASK_COMPLETE", done).await;
    assert!(
        matches!(&answers[..], [CloudMessage::MessageAck(_)]),
        "{answers:?}"
    );
    assert_eq!(states(&world), [("cancelled", 1)]);
    assert_eq!(world.store.late(task).len(), 1);
    execute(&world, Command::Retry(task)).await;
    world.dispatch_all().await;
    assert_eq!(
        sent(&world).0,
        [2],
        "an attempt that may have run is not offered again"
    );
}

#[tokio::test]
async fn a_connection_gets_no_work_before_its_first_message() {
    let world = World::new().await;
    world.run("fix it", "r").await;
    world.handshake("c").await;
    // It is not open yet: whatever is posted now is answered with 410.
    world.out.gone("c");
    world.dispatch_all().await;
    world.out.open("c");
    assert!(world.store.agent(&agent_id()).unwrap().connection.is_some());
    world.say("c", "AGENT_STATUS", status(&[], 5)).await;
    world.dispatch_all().await;
    assert_eq!(sent(&world).0, [1]);
}

#[tokio::test]
async fn the_capacity_that_a_new_connection_reports_applies_before_its_queue_is_dispatched() {
    let world = World::new().await;
    for n in 0..4 {
        world.run("work", &format!("r{n}")).await;
    }
    world.handshake("c").await;
    let router = world.router();
    world.out.take_dispatched();
    world.calls.take();
    world
        .say_to(&router, "c", "AGENT_STATUS", status(&[], 1))
        .await;
    let calls = world.calls.take();
    let reported = calls
        .iter()
        .position(|call| *call == "UpdateItem AgentsTable");
    let dispatch = calls
        .iter()
        .position(|call| *call == "SendMessage DispatchQueue");
    assert!(reported < dispatch, "{calls:?}");
}

#[tokio::test]
async fn an_agent_that_may_not_receive_messages_gets_no_tasks_until_it_echoes_a_ping() {
    let world = World::new().await;
    let router = world.router();
    world.dispatched().await;
    for n in 0..9 {
        world.run("work", &format!("more{n}")).await;
    }
    world.dispatch_all().await;
    assert_eq!(sent(&world).0.len(), 4, "five at a time");
    // It sends heartbeats but receives nothing.
    let heartbeat = json!({});
    for _ in 0..4 {
        world.pass(Duration::from_secs(20)).await;
        world
            .say_to(&router, "c", "HEARTBEAT_PING", heartbeat.clone())
            .await;
    }
    let spent: Vec<_> = world.store.all_tasks();
    let spent = spent.iter().map(|task| match task.state {
        TaskState::Pending { spent, .. } => spent,
        _ => panic!("{task:?}"),
    });
    assert_eq!(
        spent.sum::<u32>(),
        5,
        "one attempt of those that it was sent"
    );
    // Once it hears again, all of it comes at once.
    let now = world.time.now();
    let pong = json!({ "agentId": "box", "serverTime": now, "activeTasks": 0, "cpuUsage": 0,
        "memoryUsage": 0 });
    world.say_to(&router, "c", "HEARTBEAT_PONG", pong).await;
    world.dispatch_all().await;
    assert_eq!(sent(&world).0.len(), 5);
}

#[tokio::test]
async fn a_claim_that_fails_does_not_keep_claimed_tasks_from_being_sent() {
    let world = World::new().await;
    world.connect("c").await;
    for n in 0..3 {
        world.run("work", &format!("r{n}")).await;
    }
    world.out.take_dispatched();
    // The lease, the queue, two claims.
    world.calls.fail_at(4);
    let dispatch = DispatchMessage::agent_queue(agent_id());
    world.dispatcher().handle(dispatch).await.unwrap_err();
    assert_eq!(sent(&world).0, [1, 1]);
    assert_eq!(states(&world), [("dispatched", 2), ("pending", 1)]);
}

#[tokio::test]
async fn a_failure_at_any_call_spends_no_attempt_on_a_connection_that_is_gone() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            world.connect("c").await;
            let task = world.run("fix it", "r").await.id;
            world.out.take_dispatched();
            world.out.gone("c");
            world.calls.fail(n, when);
            let dispatch = DispatchMessage::agent_queue(agent_id());
            let _ = world.dispatcher().handle(dispatch.clone()).await;
            if world.calls.unused_failure() {
                break;
            }
            world.time.pass(Duration::from_secs(31));
            world.dispatcher().handle(dispatch).await.unwrap();
            world.pass(Duration::from_mins(2)).await;
            let state = world.store.task(task).unwrap().state;
            match state {
                TaskState::Pending { spent: 0, .. } => {}
                // An error counts; and what cannot be taken back is left to the deadline, as is a claim
                // that nobody learned of.
                TaskState::Pending { spent: 1, .. } if (4..=7).contains(&n) => {}
                TaskState::Pending { spent: 1, .. } if (n, when) == (2, FailurePoint::After) => {}
                state => panic!("call {n} ({when:?}): {state:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_agent_that_names_a_task_whose_acknowledgement_was_lost_keeps_it() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    world.time.pass(Duration::from_secs(10));
    world
        .say("c", "HEARTBEAT_PING", json!({ "tasks": [task] }))
        .await;
    world.pass(Duration::from_secs(25)).await;
    assert_eq!(states(&world), [("processing", 1)]);
    assert_eq!(sent(&world).0, [0_u32; 0], "no second attempt");
}

/// A project whose lease is `lease` seconds.
async fn with_lease(lease: u64) -> World {
    let world = World::new().await;
    let mut project = world.project();
    project.lease_secs = Some(lease);
    world.set_project(&project).await;
    world
}

/// A running task with a lease of `lease` seconds, and the environment that heard a heartbeat of
/// its agent `before` seconds before it began.
async fn begun(lease: u64, before: u64) -> (World, MessageRouter, TaskId) {
    let world = with_lease(lease).await;
    world.connect("c").await;
    let router = world.router();
    let none = json!({ "tasks": [] });
    world.say_to(&router, "c", "HEARTBEAT_PING", none).await;
    world.pass(Duration::from_secs(before)).await;
    let task = world.run("fix it", "r").await.id;
    world.dispatch_all().await;
    world.out.take_sent();
    let ack = json!({ "taskId": task, "accepted": true });
    world.say_to(&router, "c", "TASK_ACK", ack).await;
    (world, router, task)
}

#[tokio::test]
async fn heartbeats_renew_a_lease_that_is_shorter_than_the_interval_at_which_they_are_stored() {
    for (lease, before) in [(10, 0), (10, 19), (30, 5), (60, 1), (75, 10)] {
        let (world, router, task) = begun(lease, before).await;
        world.pass(Duration::from_secs(20 - before)).await;
        for _ in 0..15 {
            let tasks = json!({ "tasks": [task] });
            world.say_to(&router, "c", "HEARTBEAT_PING", tasks).await;
            world.pass(Duration::from_secs(20)).await;
        }
        assert_eq!(states(&world), [("processing", 1)], "{lease} s, {before} s");
    }
}

#[tokio::test]
async fn a_short_lease_of_an_agent_that_falls_silent_ends_all_the_same() {
    let (world, _, _) = begun(10, 5).await;
    world.pass(Duration::from_secs(70)).await;
    assert_eq!(states(&world), [("processing", 1)]);
    world.pass(Duration::from_secs(20)).await;
    assert_eq!(states(&world), [("failed", 1)]);
}

/// Returns the number of checks of the task that wait in the dispatcher's queue.
fn waiting_checks(world: &World, task: TaskId) -> usize {
    let waiting = world.out.take_dispatched();
    let of_task = |it: &&(DispatchMessage, Duration)| matches!(&it.0, DispatchMessage::Task { task_id, .. } if *task_id == task);
    waiting.iter().filter(of_task).count()
}

#[tokio::test]
async fn the_timers_of_a_lease_do_not_repeat_for_the_life_of_the_task() {
    let (world, router, task) = begun(10, 5).await;
    let mut timers = 0;
    for _ in 0..30 {
        // The agent goes on to report, so that each lease is renewed.
        let chunk = json!({ "taskId": task, "attempt": 1, "delta": "x" });
        world.say_to(&router, "c", "TASK_STREAM", chunk).await;
        world.time.pass(Duration::from_secs(6));
        while let Some(message) = world.next_dispatched() {
            let is_timer = matches!(message, DispatchMessage::Task { .. });
            timers += usize::from(is_timer);
            world.dispatcher().handle(message).await.unwrap();
        }
    }
    assert!((1..=9).contains(&timers), "{timers} timers");
    assert_eq!(states(&world), [("processing", 1)]);
    assert_eq!(waiting_checks(&world, task), 0);
    // The sweeper takes over: silence ends the task all the same.
    world.pass(Duration::from_mins(3)).await;
    assert_eq!(states(&world), [("failed", 1)]);
}

#[tokio::test]
async fn all_tasks_that_were_cancelled_while_their_agent_was_away_are_stopped_when_it_is_back() {
    let world = World::new().await;
    world.connect("c").await;
    let mut tasks = Vec::new();
    for n in 0..3 {
        let task = world.run("work", &format!("r{n}")).await.id;
        world.dispatch_all().await;
        let ack = json!({ "taskId": task, "accepted": true });
        world.say("c", "TASK_ACK", ack).await;
        tasks.push(task);
    }
    world
        .on_disconnect(&crate::world::event("c", true, String::new()))
        .await
        .unwrap();
    for task in &tasks[..2] {
        execute(&world, Command::Cancel(*task)).await;
    }
    world.dispatch_all().await;
    world.out.take_sent();
    world.connect("c2").await;
    let answers = world.say("c2", "AGENT_STATUS", status(&tasks, 5)).await;
    assert_eq!(answers.len(), 2, "{answers:?}");
    // Should it not have heard that, it is told once they are cancelled.
    world.pass(Duration::from_secs(31)).await;
    assert_eq!(states(&world), [("cancelled", 2), ("processing", 1)]);
    world.out.take_sent();
    let heartbeat = json!({ "tasks": tasks });
    let answers = world.say("c2", "HEARTBEAT_PING", heartbeat).await;
    let stops = answers.iter();
    let stops = stops.filter(|answer| matches!(answer, CloudMessage::TaskCancel(_)));
    assert_eq!(stops.count(), 2, "{answers:?}");
}

#[tokio::test]
async fn a_task_that_arrived_although_its_connection_seemed_gone_waits_no_longer_once_it_begins() {
    let world = World::new().await;
    world.connect("c").await;
    let task = world.run("fix it", "r").await.id;
    world.out.seems_gone("c");
    world.dispatch_all().await;
    assert_eq!(states(&world), [("pending", 1)]);
    assert_eq!(sent(&world).0, [1]);
    world.connect("c2").await;
    let ack = json!({ "taskId": task, "attempt": 1, "accepted": true });
    world.say("c2", "TASK_ACK", ack).await;
    assert_eq!(states(&world), [("processing", 1)]);
    world.dispatch_all().await;
    assert_eq!(sent(&world).0, [0; 0], "it is not sent again");
}

#[tokio::test]
async fn the_slot_of_a_refused_task_is_given_to_the_next_task_at_once() {
    let world = World::new().await;
    world.connect("c").await;
    world.say("c", "AGENT_STATUS", status(&[], 1)).await;
    let first = world.run("work", "r1").await.id;
    world.time.pass(Duration::from_millis(1));
    world.run("work", "r2").await;
    world.dispatch_all().await;
    assert_eq!(sent(&world).0, [1]);
    let refusal = json!({ "taskId": first, "accepted": false, "reason": "not now" });
    world.say("c", "TASK_ACK", refusal).await;
    world.dispatch_all().await;
    assert_eq!(states(&world), [("dispatched", 1), ("pending", 1)]);
}

#[tokio::test]
async fn the_refresh_of_an_unshown_task_is_repeated_after_twice_as_long_each_time() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let ack = json!({ "taskId": task, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    let (mut told, start) = (Vec::new(), world.time.now());
    for _ in 0..20 {
        world.out.take_notified();
        world
            .say("c", "HEARTBEAT_PING", json!({ "tasks": [task] }))
            .await;
        world.pass(SHOWN_WITHIN).await;
        if !world.out.take_notified().is_empty() {
            told.push(world.time.now().since(start).as_secs() / 60);
        }
    }
    assert!((3..=5).contains(&told.len()), "after {told:?} min");
    world.notify_all().await;
}

#[tokio::test]
async fn a_timer_has_one_message_however_often_its_task_is_checked() {
    let world = with_lease(600).await;
    let task = world.dispatched().await.id;
    let ack = json!({ "taskId": task, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    world.dispatch_all().await;
    for _ in 0..10 {
        let look = DispatchMessage::task(task, agent_id());
        world.dispatcher().handle(look).await.unwrap();
        let progress = json!({ "taskId": task, "progress": 50 });
        world.say("c", "TASK_PROGRESS", progress).await;
    }
    let waiting = world.out.take_dispatched();
    let timers = waiting.iter();
    let timers = timers.filter(|(message, _)| matches!(message, DispatchMessage::Task { .. }));
    assert_eq!(timers.count(), 0, "{waiting:?}");
}

#[tokio::test]
async fn a_lease_ends_in_time_though_its_beginning_sent_no_message_for_it() {
    let world = with_lease(600).await;
    world.pass(Duration::from_secs(7)).await;
    let task = world.dispatched().await.id;
    let ack = json!({ "taskId": task, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    world.notify_all().await;
    world.pass(Duration::from_secs(596)).await;
    assert_eq!(states(&world), [("processing", 1)]);
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(states(&world), [("failed", 1)]);
    assert!(world.time.now().as_secs() % 60 > 2, "not by the sweeper");
}

#[tokio::test]
async fn a_lease_ends_in_time_though_it_began_while_the_acknowledgement_deadline_was_checked() {
    let mut begun = 0;
    for seed in 0..50 {
        let world = with_lease(600).await;
        world.pass(Duration::from_secs(7)).await;
        let task = world.dispatched().await.id;
        world.time.pass(Duration::from_secs(30));
        world.calls.interleave(seed);
        let ack = json!({ "taskId": task, "accepted": true });
        let both = join(world.dispatch_all(), world.say("c", "TASK_ACK", ack));
        Box::pin(both).await;
        if states(&world) != [("processing", 1)] {
            continue;
        }
        begun += 1;
        world.notify_all().await;
        world.pass(Duration::from_secs(598)).await;
        assert_eq!(states(&world), [("failed", 1)], "seed {seed}");
        assert!(world.time.now().as_secs() % 60 > 2, "not by the sweeper");
    }
    assert!(begun > 5, "{begun}");
}

#[tokio::test]
async fn a_report_that_counted_is_not_late_when_it_comes_again() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let error = json!({ "taskId": task, "attempt": 1, "error": "broken" });
    world.say("c", "TASK_ERROR", error.clone()).await;
    execute(&world, Command::Retry(task)).await;
    let answers = world.say("c", "TASK_ERROR", error).await;
    assert!(
        matches!(&answers[..], [CloudMessage::MessageAck(_)]),
        "{answers:?}"
    );
    assert!(world.store.late(task).is_empty());
    assert_eq!(states(&world), [("pending", 1)]);
}

#[tokio::test]
async fn a_list_of_tasks_from_before_an_attempt_was_sent_acknowledges_nothing() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let heartbeat = json!({ "tasks": [task] });
    world.say("c", "HEARTBEAT_PING", heartbeat).await;
    let error = json!({ "taskId": task, "attempt": 1, "error": "broken" });
    world.say("c", "TASK_ERROR", error).await;
    world.time.pass(Duration::from_secs(10));
    execute(&world, Command::Retry(task)).await;
    world.dispatch_all().await;
    assert_eq!(sent(&world).0, [2]);
    // It never arrives.
    world.pass(Duration::from_secs(31)).await;
    assert_eq!(states(&world), [("pending", 1)]);
}

#[tokio::test]
async fn an_agent_on_a_new_connection_is_not_in_doubt() {
    let world = World::new().await;
    world.dispatched().await;
    world.time.pass(Duration::from_secs(20));
    world.connect("c2").await;
    world.pass(Duration::from_secs(20)).await;
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.connection.unwrap().doubted_at, None);
    assert_eq!(sent(&world).0, [2]);
}

#[tokio::test]
async fn a_task_that_is_being_cancelled_is_checked_at_most_once_a_minute() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let ack = json!({ "taskId": task, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    execute(&world, Command::Cancel(task)).await;
    world.time.pass(Duration::from_mins(2));
    world.out.take_dispatched();
    let dispatcher =
        Dispatcher::new(world.ports_with(DISPATCHER, &[("TASK_CANCEL_SECONDS", "900")]));
    // Its timer is set by that policy; Slack does not show it.
    let look = DispatchMessage::task(task, agent_id());
    world
        .store
        .set_timer(task, world.time.now() + Duration::from_mins(13));
    dispatcher.handle(look).await.unwrap();
    let told = world.out.take_dispatched();
    let at_once = told.iter().filter(|(_, delay)| delay.is_zero()).count();
    assert_eq!(at_once, 0, "{told:?}");
}
