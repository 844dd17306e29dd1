//! Tasks that do not complete.

use serde_json::json;

use crate::harness::Test;

#[tokio::test]
async fn a_failure_is_shown_with_its_message() {
    let test = Test::new("error").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("break").await;
    let task = agent.accept_next_offer().await;
    let error = json!({ "error": "the tests do not pass", "recoverable": false });
    let message = agent.send("TASK_ERROR", task.reply_payload(error)).await;
    agent.expect_confirmation(&message).await;
    let card = test.channel.card(&id, "Failed").await;
    card.tells(&["the tests do not pass", "AGENT_ERROR"]);
}

#[tokio::test]
async fn a_cancelled_task_is_shown_as_cancelled() {
    let test = Test::new("cancelled").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("never mind").await;
    let task = agent.accept_next_offer().await;
    let reason = json!({ "reason": "the owner stopped it" });
    let message = agent
        .send("TASK_CANCELLED", task.reply_payload(reason))
        .await;
    agent.expect_confirmation(&message).await;
    test.channel
        .card(&id, "Cancelled")
        .await
        .tells(&["the owner stopped it"]);
}

#[tokio::test]
async fn an_ended_task_frees_its_slot_however_it_ended() {
    let test = Test::new("slots").await;
    let mut agent = test
        .connect_as(crate::harness::TypeSpelling::Canonical, 1)
        .await;
    for prompt in ["fail", "cancel", "refuse", "complete"] {
        test.channel.run(prompt).await;
    }
    let task = agent.accept_next_offer().await;
    agent
        .send(
            "TASK_ERROR",
            task.reply_payload(json!({ "error": "x", "recoverable": false })),
        )
        .await;
    let task = agent.accept_next_offer().await;
    agent
        .send("TASK_CANCELLED", task.reply_payload(json!({})))
        .await;
    let task = agent.expect_offer().await;
    let refusal = json!({ "accepted": false, "retryable": false });
    agent.send("TASK_ACK", task.reply_payload(refusal)).await;
    let task = agent.accept_next_offer().await;
    assert_eq!(task.payload["prompt"], "complete");
    agent.complete(&task, "done").await;
}
