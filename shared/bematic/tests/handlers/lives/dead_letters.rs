//! What was given up, and given again.

use bematic::{command::Command, dead_letter::Reason, ports::NotifyMessage};

use crate::world::{World, execute};

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
