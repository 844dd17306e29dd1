//! What API Gateway puts up with.

use serde_json::json;

use crate::harness::Test;

const KB: usize = 1024;

#[tokio::test]
async fn a_frame_of_more_than_32_kb_ends_the_connection() {
    let test = Test::new("large-frame").await;
    let mut agent = test.connect().await;
    agent.ping_and_expect_pong().await;
    agent.send_in_frames(&"x".repeat(33 * KB), 33 * KB).await;
    assert_eq!(agent.expect_close().await, Some(1009));
    test.offline().await;
}

#[tokio::test]
async fn a_message_of_more_than_128_kb_ends_the_connection() {
    let test = Test::new("large-message").await;
    let mut agent = test.connect().await;
    agent.ping_and_expect_pong().await;
    agent.send_in_frames(&"x".repeat(129 * KB), 30 * KB).await;
    assert_eq!(agent.expect_close().await, Some(1009));
    test.offline().await;
}

#[tokio::test]
async fn a_result_of_100_kb_in_frames_of_30_kb_arrives() {
    let test = Test::new("large-result").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("tell a lot").await;
    let task = agent.accept_next_offer().await;
    let result = format!("It begins. {}", "x".repeat(100 * KB));
    let message = agent.build_message(
        "TASK_COMPLETE",
        &task.reply_payload(json!({ "result": result })),
    );
    agent.send_in_frames(&message.to_string(), 30 * KB).await;
    agent
        .expect_confirmation(message["id"].as_str().expect("an id"))
        .await;
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["It begins."]);
}

#[tokio::test]
async fn a_connection_that_is_silent_for_too_long_is_ended() {
    let test = Test::new("idle").await;
    let mut agent = test.connect_disturbed("idle:2").await;
    agent.send_status(&test.agent_id, 5, &[]).await;
    assert_eq!(agent.expect_close().await, Some(1001));
    test.offline().await;
}

#[tokio::test]
async fn a_connection_is_ended_at_the_end_of_its_life() {
    let test = Test::new("lifetime").await;
    let mut agent = test.connect_disturbed("lifetime:5,idle:60").await;
    agent.ping_and_expect_pong().await;
    assert_eq!(agent.expect_close().await, Some(1001));
    test.offline().await;
}
