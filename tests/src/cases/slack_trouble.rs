//! Slack that answers too late, not at all, or asks for patience.

use serde_json::json;

use crate::harness::Test;

#[tokio::test]
async fn a_card_that_slack_lost_the_answer_to_and_then_limits_is_posted_once_and_completes() {
    let test = Test::new("trouble").await;
    let lost = json!({ "method": "chat.postMessage", "status": 500, "afterEffect": true });
    test.channel.fault(lost).await;
    let limit = json!({ "method": "chat.update", "status": 429, "retryAfter": 2, "count": 2 });
    test.channel.fault(limit).await;

    let mut agent = test.connect().await;
    let id = test.channel.run("get through").await;
    let task = agent.accept_next_offer().await;
    test.channel.card(&id, "Running on agent").await;
    agent.complete(&task, "got through").await;
    test.channel
        .card(&id, "Completed")
        .await
        .tells(&["got through"]);
    assert_eq!(test.channel.messages().await.len(), 1);
    assert_eq!(test.channel.calls("chat.postMessage").await, [500]);
    let updates = test.channel.calls("chat.update").await;
    assert_eq!(
        updates.iter().filter(|status| **status == 429).count(),
        2,
        "{updates:?}"
    );
    assert_eq!(updates.last(), Some(&200));
}
