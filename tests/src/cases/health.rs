//! `GET /health`, for whatever polls it.

use bematic::breaker::BreakerConfig;
use serde_json::{Value, json};

use crate::harness::{Test, eventually, stack};

/// The body of the answer, which is that of a system that can work.
async fn health() -> Value {
    let answer = reqwest::get(stack().health_url).await.expect("an answer");
    let status = answer.status();
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(status, 200, "{body}");
    assert!(body["timestamp"].is_string(), "{body}");
    let components = &body["components"];
    assert_eq!(components["database"], "healthy", "{body}");
    for part in ["queues", "slack"] {
        assert!(components[part].is_string(), "{body}");
    }
    body
}

/// The body, once some agent is counted as `what`. It may be some seconds old, and
/// other tests have agents too.
async fn counts(what: &str) -> Value {
    eventually(&format!("an agent is counted as {what}"), async || {
        let body = health().await;
        match body["components"]["agents"][what].as_u64() {
            Some(1..) => Ok(body),
            _ => Err(body.to_string()),
        }
    })
    .await
}

#[tokio::test]
async fn connected_agents_are_counted_and_nobody_is_named() {
    let test = Test::new("counted").await;
    let mut agent = test.connect().await;
    agent.ping_and_expect_pong().await;
    let body = counts("connected").await.to_string();
    for secret in [&test.agent_id, &test.channel.id] {
        assert!(!body.contains(secret), "{body}");
    }
    agent.ping_and_expect_pong().await;
}

#[tokio::test]
async fn an_open_breaker_makes_the_system_degraded_and_no_worse() {
    let test = Test::new("unhealthy").await;
    test.configure_breaker(|config| BreakerConfig {
        recovery_timeout_ms: 600_000,
        consecutive_failure_threshold: 1,
        ..config
    })
    .await;
    let mut agent = test.connect().await;
    test.channel.run("fail").await;
    let task = agent.accept_next_offer().await;
    let failure = task.reply_payload(json!({ "error": "out of order" }));
    let message = agent.send("TASK_ERROR", failure).await;
    agent.expect_confirmation(&message).await;
    test.breaker_is("open").await;
    let body = counts("unhealthy").await;
    assert_eq!(body["status"], "degraded", "{body}");
}
