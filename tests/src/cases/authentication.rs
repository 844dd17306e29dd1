//! Both ways to authenticate, and every way to fail at it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;

use crate::harness::{HandshakeHeaders, Program, Test, TestAgent, TypeSpelling};

async fn anonymous(test: &Test, spelling: TypeSpelling) -> TestAgent {
    let connected = TestAgent::connect(
        &test.stack.websocket_url,
        &HandshakeHeaders::default(),
        spelling,
    )
    .await;
    connected.expect("a handshake without a key is let through")
}

fn credentials(agent_id: &str, api_key: &str) -> Value {
    json!({ "agentId": agent_id, "apiKey": api_key, "version": "1.2.3" })
}

async fn is_turned_away(mut agent: TestAgent) -> String {
    let answer = agent.expect("AUTH_RESPONSE").await;
    assert_eq!(answer["success"], false, "{answer}");
    agent.expect_close().await;
    answer["error"].as_str().expect("a reason").to_owned()
}

#[tokio::test]
async fn an_agent_that_cannot_set_headers_authenticates_in_band_and_gets_work() {
    let test = Test::new("in-band").await;
    let mut agent = anonymous(&test, TypeSpelling::Canonical).await;
    agent
        .send("AUTH_REQUEST", credentials(&test.agent_id, &test.api_key))
        .await;
    let answer = agent.expect("AUTH_RESPONSE").await;
    assert_eq!(answer, json!({ "success": true, "agentId": test.agent_id }));

    let id = test.channel.run("say hello").await;
    let task = agent.accept_next_offer().await;
    assert_eq!(task.id, id);
    agent.complete(&task, "hello").await;
    test.channel.card(&id, "Completed").await;
}

#[tokio::test]
async fn a_wrong_key_in_band_is_told_and_ends_the_connection() {
    let (test, other) = (Test::new("bad-key").await, Test::new("bad-key-other").await);
    for key in ["bm_00", &format!("bm_{}", "0".repeat(64)), &other.api_key] {
        let mut agent = anonymous(&test, TypeSpelling::Canonical).await;
        agent
            .send("AUTH_REQUEST", credentials(&test.agent_id, key))
            .await;
        let reason = is_turned_away(agent).await;
        assert!(reason.contains(&test.agent_id), "{reason}");
    }
    assert!(!test.is_online().await);
}

#[tokio::test]
async fn any_other_first_message_ends_the_connection() {
    let test = Test::new("no-auth").await;
    let mut agent = anonymous(&test, TypeSpelling::Canonical).await;
    agent.send_status(&test.agent_id, 5, &[]).await;
    let reason = is_turned_away(agent).await;
    assert!(reason.contains("AUTH_REQUEST"), "{reason}");

    let mut agent = anonymous(&test, TypeSpelling::Canonical).await;
    agent.send_text("hello?").await;
    is_turned_away(agent).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_ended_after_ten_seconds() {
    let test = Test::new("deadline").await;
    let agent = anonymous(&test, TypeSpelling::Canonical).await;
    let mut early = anonymous(&test, TypeSpelling::Canonical).await;
    early
        .send("AUTH_REQUEST", credentials(&test.agent_id, &test.api_key))
        .await;
    early.expect("AUTH_RESPONSE").await;

    let mut waiting = Box::pin(is_turned_away(agent));
    assert!(
        timeout(Duration::from_secs(5), &mut waiting).await.is_err(),
        "too early"
    );
    let reason = waiting.await;
    assert!(reason.contains("10 s"), "{reason}");
    early.ping_and_expect_pong().await;
}

#[tokio::test]
async fn a_handshake_with_a_bad_key_is_refused_with_401() {
    let (test, other) = (Test::new("header").await, Test::new("header-other").await);
    let no_such_key = format!("bm_{}", "0".repeat(64));
    for handshake in [
        HandshakeHeaders::with_key(&test.agent_id, "bm_00"),
        HandshakeHeaders::with_key(&test.agent_id, &no_such_key),
        HandshakeHeaders::with_key(&other.agent_id, &test.api_key),
        HandshakeHeaders::with_key("no-such-agent", &test.api_key),
    ] {
        match TestAgent::connect(
            &test.stack.websocket_url,
            &handshake,
            TypeSpelling::Canonical,
        )
        .await
        {
            Err(Error::Http(answer)) => {
                assert_eq!(answer.status(), 401, "{handshake:?}");
                let body = answer.body().clone().unwrap_or_default();
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(body["message"], "Unauthorized", "{body}");
            }
            Err(error) => panic!("refused otherwise: {error}"),
            Ok(_) => panic!("let in with {handshake:?}"),
        }
    }
    assert!(!test.is_online().await);
}

#[tokio::test]
async fn the_reference_agent_ends_if_its_key_is_refused() {
    let mut test = Test::new("refused").await;
    test.api_key = format!("bm_{}", "0".repeat(64));
    let mut agent = Program::start(&test, "cat");
    assert_eq!(agent.stopped().await.code(), Some(3));
}

#[tokio::test]
async fn an_agent_is_answered_in_its_own_spelling() {
    let test = Test::new("colons").await;
    let mut agent = anonymous(&test, TypeSpelling::Colons).await;
    agent
        .send("AUTH_REQUEST", credentials(&test.agent_id, &test.api_key))
        .await;
    agent.expect("AUTH_RESPONSE").await;
    let id = test.channel.run("speak as I do").await;
    // Agents in the field know nothing of attempts.
    let task = agent.expect_offer().await;
    let of_the_field = |mut fields: Value| {
        fields["taskId"] = json!(task.id);
        fields
    };
    agent
        .send("TASK_ACK", of_the_field(json!({ "accepted": true })))
        .await;
    agent
        .send("TASK_STREAM", of_the_field(json!({ "chunk": "as text" })))
        .await;
    let message = agent
        .send(
            "TASK_COMPLETE",
            of_the_field(json!({ "result": "as you do" })),
        )
        .await;
    agent.expect_confirmation(&message).await;
    agent.ping_and_expect_pong().await;
    agent.send("NO_SUCH", json!({})).await;
    agent.expect("SYSTEM_ERROR").await;
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["as text", "as you do"]);
}
