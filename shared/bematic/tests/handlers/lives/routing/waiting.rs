//! What waits is moved to where it is better off.

use std::time::Duration;

use bematic::{
    ports::{DispatchMessage, NotifyMessage},
    task::{Priority, Task, TaskState},
};
use bematic_protocol::ids::Attempt;
use serde_json::json;

use super::{agent_of, id, move_from, pass, run_all, submitted};
use crate::world::{World, execute};

/// The agent `box` has all that it takes; `b` is away.
async fn full() -> World {
    let world = World::new().await;
    world.connect("c").await;
    let status = json!({ "agentId": "box", "status": "online", "activeTasks": [], "capacity": 1 });
    world.say("c", "AGENT_STATUS", status).await;
    world.set_route("box,b").await;
    world.run("first", "first").await;
    world.dispatch_all().await;
    assert_eq!(submitted(&world).len(), 1);
    world
}

/// These wait for it, and `b` is there too.
async fn waiting(prompts: &[&str]) -> (World, Vec<Task>) {
    let world = full().await;
    let tasks = run_all(&world, prompts).await;
    world.dispatch_all().await;
    world.join("b", "cb").await;
    world.notify_all().await;
    world.calls.take();
    (world, tasks)
}

#[tokio::test]
async fn tasks_that_wait_behind_an_opened_breaker_are_moved_sent_and_shown() {
    let (world, tasks) = waiting(&["one", "two", "three"]).await;
    world.open_breaker("box").await;
    assert_eq!(move_from(&world, "box").await, 3);
    for task in &tasks {
        assert_eq!(agent_of(&world, task), "b");
        assert!(world.store.task(task.id).unwrap().earlier.is_empty());
    }
    world.dispatch_all().await;
    let mut sent = submitted(&world);
    let expected = ["one", "two", "three"].map(|prompt| ("cb".into(), prompt.into(), 1));
    assert_eq!(sent, expected, "in the order that they were asked for");
    sent.clear();
    world.notify_all().await;
    let shown = world.slack.text();
    assert!(shown.contains("Sent to agent b"), "{shown}");
    // What is at work stays where it is, and there is nothing left to be moved.
    assert_eq!(move_from(&world, "box").await, 0);
    assert_eq!(world.store.agent(&id("box")).unwrap().held.len(), 1);
}

#[tokio::test]
async fn a_moved_task_is_shown_with_its_new_agent_before_it_is_sent() {
    let (world, tasks) = waiting(&["one"]).await;
    world.open_breaker("box").await;
    move_from(&world, "box").await;
    let task_id = tasks[0].id;
    assert_eq!(world.out.to_show(), [task_id]);
    let refresh = NotifyMessage::Refresh { task_id };
    world.notifier().handle(refresh).await.unwrap();
    let shown = world.slack.text();
    assert!(shown.contains("Waiting for agent b"), "{shown}");
}

#[tokio::test]
async fn tasks_that_wait_for_a_full_agent_are_moved_as_far_as_others_have_free_slots() {
    let (world, _) = waiting(&["one", "two", "three", "four"]).await;
    let status = json!({ "agentId": "b", "status": "online", "activeTasks": [], "capacity": 2 });
    world.say_as("b", "cb", "AGENT_STATUS", status).await;
    assert_eq!(move_from(&world, "box").await, 2);
    let b = id("b");
    let moved = world.store.all_tasks().into_iter();
    let moved: Vec<_> = moved.filter(|task| task.agent_id == b).collect();
    let titles: Vec<_> = moved.iter().map(|task| task.title.as_str()).collect();
    assert_eq!(titles, ["one", "two"]);
    assert_eq!(move_from(&world, "box").await, 0, "b is full as well");
    // Where nothing has changed, nothing is moved back.
    world.open_breaker("box").await;
    world.dispatch_all().await;
    assert_eq!(move_from(&world, "b").await, 0);
}

#[tokio::test]
async fn a_task_for_one_agent_only_is_not_moved() {
    let (world, _) = waiting(&[]).await;
    world.set_route("box").await;
    let by_project = world.run("pinned by its project", "p").await;
    world.set_route("box,b").await;
    let pinned = bematic::command::Command::Run(bematic::command::RunArguments {
        agent: Some(id("box")),
        priority: Priority::default(),
        prompt: "pinned by name".to_owned(),
    });
    execute(&world, pinned).await;
    world.open_breaker("box").await;
    world.calls.take();
    assert_eq!(move_from(&world, "box").await, 0);
    assert_eq!(
        world.calls.take(),
        ["Query TasksTable"],
        "which costs one call"
    );
    assert_eq!(agent_of(&world, &by_project), "box");
    let by_name = world.store.all_tasks().pop().unwrap();
    assert_eq!((by_name.route, by_name.agent_id), (None, id("box")));
}

#[tokio::test]
async fn immovable_tasks_at_the_head_of_a_queue_do_not_have_it_dispatched_for_ever() {
    let world = full().await;
    world.set_route("box").await;
    for n in 0..60 {
        world.run("pinned", &format!("p{n}")).await;
    }
    world.set_route("box,b").await;
    let last = world.run("free", "free").await;
    assert_eq!(agent_of(&world, &last), "box");
    world.join("b", "cb").await;
    world.out.take_dispatched();
    world.open_breaker("box").await;
    assert_eq!(move_from(&world, "box").await, 0);
    assert!(world.out.take_dispatched().is_empty(), "no other dispatch");
    // The sweeper finds what is behind them.
    pass(&world, Duration::from_mins(2), &[("box", "c"), ("b", "cb")]).await;
    assert_eq!(agent_of(&world, &last), "b");
}

#[tokio::test]
async fn a_long_queue_is_moved_by_several_dispatches() {
    let prompts: Vec<_> = (0..60).map(|n| format!("work {n}")).collect();
    let prompts: Vec<_> = prompts.iter().map(String::as_str).collect();
    let (world, _) = waiting(&prompts).await;
    let dispatches = |world: &World| {
        let dispatch = DispatchMessage::agent_queue(id("box"));
        let sent = world.out.take_dispatched().into_iter();
        sent.filter(|(message, _)| *message == dispatch).count()
    };
    world.open_breaker("box").await;
    dispatches(&world);
    assert_eq!(move_from(&world, "box").await, 50);
    assert_eq!(dispatches(&world), 1);
    assert_eq!(move_from(&world, "box").await, 10);
    assert_eq!(dispatches(&world), 0);
}

#[tokio::test]
async fn a_task_that_may_have_been_delivered_is_not_moved() {
    let world = World::new().await;
    world.connect("c").await;
    world.set_route("box,b").await;
    let task = world.run("one", "one").await;
    world.out.gone("c");
    world.dispatch_all().await;
    let state = world.store.task(task.id).unwrap().state;
    assert!(
        matches!(
            state,
            TaskState::Pending {
                undelivered: true,
                ..
            }
        ),
        "{state:?}"
    );
    world.join("b", "cb").await;
    assert_eq!(move_from(&world, "box").await, 0);
    pass(&world, Duration::from_mins(3), &[("b", "cb")]).await;
    assert_eq!(agent_of(&world, &task), "box");
}

#[tokio::test]
async fn a_task_that_waits_for_an_offline_agent_is_moved_to_one_that_connects() {
    let world = World::new().await;
    world.add_agent("b").await;
    world.set_route("box,b").await;
    let task = world.run("one", "one").await;
    assert_eq!(task.agent_id, id("box"), "the first, where none is there");
    world.dispatch_all().await;
    world.notify_all().await;
    world.join("b", "cb").await;
    pass(&world, Duration::from_mins(2), &[("b", "cb")]).await;
    assert_eq!(submitted(&world), [("cb".into(), "one".into(), 1)]);
    // Also if that is long after.
    let late = World::new().await;
    late.add_agent("b").await;
    late.set_route("any").await;
    late.run("one", "one").await;
    late.pass(Duration::from_hours(2)).await;
    late.join("b", "cb").await;
    pass(&late, Duration::from_mins(6), &[("b", "cb")]).await;
    let sent = submitted(&late);
    assert_eq!(sent.len(), 1, "{sent:?}");
}

#[tokio::test]
async fn a_waiting_task_is_checked_less_often_each_time_and_an_immovable_one_never() {
    for (route, most, least) in [("box,b", 20, 12), ("box", 0, 0)] {
        let world = World::new().await;
        world.add_agent("b").await;
        world.set_route(route).await;
        world.run("one", "one").await;
        world.dispatch_all().await;
        world.notify_all().await;
        world.calls.take();
        world.pass(Duration::from_hours(1)).await;
        let looks = world.calls.take().into_iter();
        let looks = looks.filter(|call| *call == "GetItem TasksTable").count();
        assert!((least..=most).contains(&looks), "{route}: {looks}");
    }
}

#[tokio::test]
async fn a_task_that_is_moved_twice_records_its_earlier_agents() {
    let world = World::new().await;
    world.connect("c").await;
    world.set_route("box,b,d").await;
    let task = world.run("one", "one").await;
    world.dispatch_all().await;
    let refused = |attempt: u32| json!({ "taskId": task.id, "attempt": attempt, "accepted": false, "reason": "broken" });
    world.say_as("box", "c", "TASK_ACK", refused(1)).await;
    world.open_breaker("box").await;
    world.time.pass(Duration::from_secs(10));
    world.join("b", "cb").await;
    assert_eq!(move_from(&world, "box").await, 1);
    world.dispatch_all().await;
    world.say_as("b", "cb", "TASK_ACK", refused(2)).await;
    world.open_breaker("b").await;
    world.time.pass(Duration::from_secs(20));
    world.join("d", "cd").await;
    assert_eq!(move_from(&world, "b").await, 1);
    world.dispatch_all().await;
    let expected = [("c", 1), ("cb", 2), ("cd", 3)];
    let expected = expected.map(|(to, attempt)| (to.into(), "one".into(), attempt));
    assert_eq!(submitted(&world), expected, "never under the same number");
    let stored = world.store.task(task.id).unwrap();
    let earlier: Vec<_> = stored.earlier.into_iter().collect();
    let second = Attempt::after_attempts(1);
    assert_eq!(earlier, [(id("b"), second), (id("box"), Attempt::FIRST)]);
}
