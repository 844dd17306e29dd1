//! Tasks whose agent stays away. (What takes longest has the name that is started first.)

use std::time::Duration;

use crate::harness::Test;

/// Longer than a task waits, and the sweeper's minute after it.
const EXPIRY: Duration = Duration::from_mins(3);

#[tokio::test]
async fn a_task_that_waits_too_long_for_its_agent_expires_and_can_be_retried() {
    let test = Test::new("expiry").await;
    let id = test.channel.run("wait for nobody").await;
    let card = test.channel.card_within(EXPIRY, &id, "EXPIRED").await;
    card.tells(&["Failed", "No agent took it in time"]);

    let mut agent = test.connect().await;
    agent.ping_and_expect_pong().await;
    test.channel.press(&card, "retry").await;
    let task = agent.accept_next_offer().await;
    assert_eq!((task.id.as_str(), task.attempt), (id.as_str(), 1));
    agent.complete(&task, "better late than never").await;
    test.channel.card(&id, "Completed").await;
    assert!(agent.unread("TASK_SUBMIT").is_empty(), "it was withdrawn");
}
