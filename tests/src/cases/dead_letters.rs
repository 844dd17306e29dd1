//! What the functions give up on.

use serde_json::json;

use crate::harness::{Test, eventually};

/// Puts a message into a queue, as no part of the system would.
async fn send(test: &Test, queue: &str, body: String) {
    let message = json!({
        "QueueUrl": test.stack.aws.queues[queue], "MessageBody": body, "MessageGroupId": "by-hand",
    });
    let sent = reqwest::Client::new()
        .post(&test.stack.aws.aws_endpoint)
        .header("x-amz-target", "AmazonSQS.SendMessage")
        .header("content-type", "application/x-amz-json-1.0")
        // As by a tool with credentials that it made up.
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request",
        )
        .body(message.to_string())
        .send()
        .await;
    let sent = sent.and_then(reqwest::Response::error_for_status);
    sent.expect("SQS takes the message");
}

#[tokio::test]
async fn what_is_not_understood_is_listed_with_its_reason_and_what_is_mended_is_done() {
    let test = Test::new("dead").await;
    send(&test, "dispatch", "not a message".to_owned()).await;
    eventually("the reason is listed", async || {
        let listed = test.channel.command("/bm dead-letters").await;
        if listed.contains("*dispatch*") && listed.contains("INVALID_QUEUE_MESSAGE") {
            Ok(())
        } else {
            Err(listed)
        }
    })
    .await;
    // One that SQS itself has moved has no reason, and is worth another try.
    let unheard = test.connect().await;
    let drain = json!({ "kind": "drain", "agentId": test.agent_id });
    send(&test, "dispatch-dead-letters", drain.to_string()).await;
    eventually("it is listed without a reason", async || {
        let listed = test.channel.command("/bm dead-letters").await;
        if listed.contains("ended before it could say why") {
            Ok(())
        } else {
            Err(listed)
        }
    })
    .await;
    let said = test.channel.command("/bm redrive").await;
    assert!(said.contains("given again"), "{said}");
    eventually(
        "only what cannot be understood is there again",
        async || {
            let listed = test.channel.command("/bm dead-letters").await;
            let back = listed.contains("INVALID_QUEUE_MESSAGE");
            if back && !listed.contains("ended before it could say why") {
                Ok(())
            } else {
                Err(listed)
            }
        },
    )
    .await;
    unheard.close().await;
}
