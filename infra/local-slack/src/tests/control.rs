//! Tests of rate limits and faults.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn rate_limits_are_slacks_once_switched_on() {
    let slack = Fixture::start().await;
    let args = json!({ "channel": CHANNEL, "text": "hi" });
    for _ in 0..3 {
        slack.ok("chat.postMessage", args.clone()).await;
    }
    slack
        .control("rate-limits", json!({ "enabled": true }))
        .await;
    slack.ok("chat.postMessage", args.clone()).await;
    let limited = slack.api_response("chat.postMessage", args.clone()).await;
    assert_eq!(limited.status(), 429);
    assert_eq!(limited.headers()["Retry-After"], "1");
    assert_eq!(
        limited.json::<Value>().await.unwrap()["error"],
        "ratelimited"
    );
    slack
        .ok(
            "chat.postMessage",
            json!({ "channel": "C0RANDOM", "text": "elsewhere" }),
        )
        .await;
    slack.advance_secs(1);
    slack.ok("chat.postMessage", args.clone()).await;
    slack
        .control("rate-limits", json!({ "enabled": false }))
        .await;
    slack.ok("chat.postMessage", args).await;
}

#[tokio::test]
async fn a_method_can_have_a_rate_of_its_own() {
    let slack = Fixture::start().await;
    let rates = json!({ "enabled": true, "methods": { "auth.test": { "calls": 2, "secs": 30 } } });
    slack.control("rate-limits", rates).await;
    slack.ok("auth.test", json!({})).await;
    slack.advance_secs(10);
    slack.ok("auth.test", json!({})).await;
    let limited = slack.api_response("auth.test", json!({})).await;
    assert_eq!(limited.headers()["Retry-After"], "20");
}

#[tokio::test]
async fn a_fault_makes_the_next_calls_fail() {
    let slack = Fixture::start().await;
    let post = json!({ "channel": CHANNEL, "text": "hi" });
    slack
        .control(
            "faults",
            json!({ "method": "chat.postMessage", "count": 2, "status": 500 }),
        )
        .await;
    slack
        .control(
            "faults",
            json!({ "method": "*", "error": "internal_error" }),
        )
        .await;
    for _ in 0..2 {
        assert_eq!(
            slack
                .api_response("chat.postMessage", post.clone())
                .await
                .status(),
            500
        );
    }
    assert_eq!(
        slack.error("chat.postMessage", post.clone()).await,
        "internal_error"
    );
    assert!(slack.history().await.is_empty());
    slack.ok("chat.postMessage", post).await;
}

#[tokio::test]
async fn a_response_can_be_lost_after_the_call_took_effect() {
    let slack = Fixture::start().await;
    let fault = json!({ "method": "chat.postMessage", "status": 503, "afterEffect": true });
    slack.control("faults", fault).await;
    let post = json!({ "channel": CHANNEL, "text": "posted all the same" });
    assert_eq!(
        slack.api_response("chat.postMessage", post).await.status(),
        503
    );
    assert_eq!(slack.history().await, ["posted all the same"]);
}

#[tokio::test]
async fn a_fault_can_be_limited_to_one_channel() {
    let slack = Fixture::start().await;
    let fault = json!({ "method": "chat.postMessage", "status": 500, "channel": "C0RANDOM" });
    slack.control("faults", fault).await;
    slack.post("elsewhere").await;
    let post = json!({ "channel": "C0RANDOM", "text": "here" });
    assert_eq!(
        slack.api_response("chat.postMessage", post).await.status(),
        500
    );
}

#[tokio::test]
async fn recent_calls_are_listed() {
    let slack = Fixture::start().await;
    let ts = slack.post("card").await;
    slack
        .error("chat.update", json!({ "channel": CHANNEL, "ts": ts }))
        .await;
    let url = format!("{}/control/calls", slack.server.page_url());
    let calls: Value = slack
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(calls["calls"][0]["method"], "chat.postMessage");
    assert_eq!(calls["calls"][1]["ts"], ts);
}
