//! What was given up, and given again.

use std::time::Duration;

use bematic::{
    command::Command,
    dead_letter::{QueueName, Reason},
    ports::{DispatchMessage, NotifyMessage},
};
use bematic_protocol::ids::BatchId;
use uuid::Uuid;

use crate::world::{World, agent_id, execute};

async fn send_to_dead_letters(world: &World, body: &NotifyMessage) {
    let reason = Reason {
        code: "SLACK_UNAVAILABLE".into(),
        text: "Slack did not answer <chat.update>".into(),
    };
    let body = serde_json::to_string(body).unwrap();
    world.send_to_dead_letters(&body, &reason).await;
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_reasons_and_redriven() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let none = execute(&world, Command::DeadLetters).await;
    assert!(none.contains("No dead letters"), "{none}");
    world.out.take_notified();
    send_to_dead_letters(&world, &NotifyMessage::Refresh { task_id: task.id }).await;
    let listed = execute(&world, Command::DeadLetters).await;
    for part in [
        "*notifications*: 1 message",
        "SLACK_UNAVAILABLE",
        "&lt;chat.update&gt;",
    ] {
        assert!(listed.contains(part), "{listed}");
    }
    let said = execute(&world, Command::Redrive).await;
    assert!(said.contains("1 message given again"), "{said}");
    world.notify_all().await;
    assert_eq!(world.slack.messages().len(), 1);
    let none = execute(&world, Command::Redrive).await;
    assert!(none.contains("nothing to try again"), "{none}");
}

#[tokio::test]
async fn a_message_that_fails_as_often_as_its_queue_allows_is_dead_lettered_and_redriven() {
    for (name, receives) in [(QueueName::Dispatch, 10), (QueueName::Batch, 5)] {
        let world = World::new().await;
        if name == QueueName::Dispatch {
            let message = (DispatchMessage::agent_queue(agent_id()), Duration::ZERO);
            world.unobserved.dispatch.send(&[message]).await.unwrap();
        } else {
            let batch = BatchId::new(Uuid::max());
            world.unobserved.batch_queue.enqueue(batch).await.unwrap();
        }
        let invoke = async || match name {
            QueueName::Dispatch => world.feed_dispatcher().await,
            _ => world.feed_batch_worker().await,
        };
        for receive in 1..=receives {
            world.calls.fail_at(0);
            let fed = invoke().await;
            let is_last = receive == receives;
            assert_eq!(fed.done, usize::from(is_last), "{name:?} {receive}");
            world.time.pass(Duration::from_mins(5));
        }
        let reason = world.dead_letters(name)[0].reason.clone().unwrap();
        assert_eq!(reason.code, "STORE_UNAVAILABLE");
        let listed = execute(&world, Command::DeadLetters).await;
        assert!(listed.contains("STORE_UNAVAILABLE"), "{listed}");
        let said = execute(&world, Command::Redrive).await;
        assert!(said.contains("1 message given again"), "{said}");
        assert!(world.dead_letters(name).is_empty());
        assert_eq!(invoke().await.done, 1);
    }
}
