//! Stopping tasks, and trying them again.

use std::time::Duration;

use bematic::command::Command;
use bematic_protocol::{ids::TaskId, messages::CloudMessage};
use serde_json::json;

use crate::world::{World, agent_id, execute};

fn state(world: &World, task: TaskId) -> &'static str {
    world.store.task(task).unwrap().state.name()
}

fn cancels(world: &World) -> usize {
    let sent = world.out.take_sent();
    let cancels = sent.iter();
    cancels
        .filter(|(_, message)| matches!(message, CloudMessage::TaskCancel(_)))
        .count()
}

#[tokio::test]
async fn a_waiting_task_is_cancelled_at_once() {
    let world = World::new().await;
    let task = world.run("fix it", "r").await.id;
    let said = execute(&world, Command::Cancel(task)).await;
    assert!(said.contains("cancelled"), "{said}");
    assert_eq!(state(&world, task), "cancelled");
    world.connect("c").await;
    world.dispatch_queue().await;
    assert!(world.out.take_sent().is_empty(), "it left the queue");
}

#[tokio::test]
async fn a_running_task_is_cancelled_by_its_agent_on_request() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let said = execute(&world, Command::Cancel(task)).await;
    assert!(said.contains("told to stop"), "{said}");
    world.dispatch_all().await;
    assert_eq!(cancels(&world), 1);
    world
        .say("c", "TASK_CANCELLED", json!({ "taskId": task }))
        .await;
    assert_eq!(state(&world, task), "cancelled");
    assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
    let said = execute(&world, Command::Cancel(task)).await;
    assert!(said.contains("already"), "{said}");
}

#[tokio::test]
async fn a_task_of_an_agent_that_does_not_answer_is_cancelled_after_30_s_and_the_agent_is_told_at_its_next_message()
 {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let ack = json!({ "taskId": task, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    execute(&world, Command::Cancel(task)).await;
    world.pass(Duration::from_secs(29)).await;
    assert_eq!(state(&world, task), "processing");
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(state(&world, task), "cancelled");
    world.out.take_sent();
    let progress = json!({ "taskId": task, "progress": 50 });
    let answers = world.say("c", "TASK_PROGRESS", progress).await;
    assert!(matches!(&answers[..], [CloudMessage::TaskCancel(_)]));
}

#[tokio::test]
async fn a_completion_before_the_cancellation_stays() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    execute(&world, Command::Cancel(task)).await;
    let done = json!({ "taskId": task, "result": "done" });
    world.say("c", "TASK_COMPLETE", done).await;
    world
        .say("c", "TASK_CANCELLED", json!({ "taskId": task }))
        .await;
    world.pass(Duration::from_mins(1)).await;
    assert_eq!(state(&world, task), "completed");
}

#[tokio::test]
async fn a_failed_task_is_retried_and_a_task_of_another_channel_is_not() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let error = json!({ "taskId": task, "error": "broken" });
    world.say("c", "TASK_ERROR", error).await;
    let said = execute(&world, Command::Retry(task)).await;
    assert!(said.contains("in line again"), "{said}");
    world.dispatch_all().await;
    let sent = world.out.take_sent();
    assert!(matches!(&sent[..], [(_, CloudMessage::TaskSubmit(submit))]
        if submit.attempt.map(bematic_protocol::ids::Attempt::number) == Some(2)));
    let unknown = Command::Cancel(TaskId::new(uuid::Uuid::from_u128(99)));
    assert!(execute(&world, unknown).await.contains("no task"));
}
