//! Tests of the local Slack without a socket.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{Author, Config, Fault, Slack, Ts, router};

use super::{ADA, CHANNEL, TOKEN};

async fn call(slack: &Arc<Slack>, method: &str, args: Value) -> Response<Body> {
    let request = Request::post(format!("http://anywhere/api/{method}"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Body::from(args.to_string()));
    router(slack).oneshot(request.unwrap()).await.unwrap()
}

async fn answer(slack: &Arc<Slack>, method: &str, args: Value) -> Value {
    let body = call(slack, method, args).await.into_body();
    serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap()
}

fn ts(answer: &Value) -> Ts {
    answer["ts"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn messages_are_seen_with_their_updates_and_replies() {
    let slack = Slack::new(Config::new("secret", TOKEN));
    let question = slack
        .post_without_event(ADA, CHANNEL, None, "a question")
        .unwrap();
    let metadata = json!({ "event_type": "task", "event_payload": { "id": 1 } });
    let blocks = json!([{ "type": "divider", "block_id": "b" }]);
    let card = json!({ "channel": CHANNEL, "text": "card", "thread_ts": question,
        "blocks": blocks, "metadata": metadata });
    let card = ts(&answer(&slack, "chat.postMessage", card).await);
    for text in ["once", "twice"] {
        let update = json!({ "channel": CHANNEL, "ts": card, "text": text });
        answer(&slack, "chat.update", update).await;
    }
    let [first, reply] = slack.messages(CHANNEL).try_into().unwrap();
    assert_eq!((first.ts, reply.thread), (question, Some(question)));
    assert_eq!(first.author, Author::User(ADA.to_owned()));
    assert_eq!((reply.ts, reply.updates), (card, 2));
    assert_eq!(reply.content.text, "twice");
    assert_eq!(reply.content.blocks, Some(blocks));
    assert_eq!(reply.content.metadata, Some(metadata));
    assert_eq!(slack.message(CHANNEL, card), Some(reply));
    slack.delete(CHANNEL, card);
    let update = json!({ "channel": CHANNEL, "ts": card, "text": "late" });
    let refused = answer(&slack, "chat.update", update).await;
    assert_eq!(refused["error"], "message_not_found");
    let faults = slack.faults();
    let methods: Vec<_> = faults.calls.iter().map(|call| &call["method"]).collect();
    let expected = [
        "chat.postMessage",
        "chat.update",
        "chat.update",
        "chat.update",
    ];
    assert_eq!(methods, expected);
}

#[tokio::test]
async fn ephemeral_messages_are_seen_with_their_reader() {
    let slack = Slack::new(Config::new("secret", TOKEN));
    let args = json!({ "channel": CHANNEL, "text": "psst", "user": ADA });
    answer(&slack, "chat.postEphemeral", args).await;
    let [only] = slack.ephemeral_messages(CHANNEL).try_into().unwrap();
    assert_eq!(only.content.text, "psst");
    assert_eq!(only.only_for.as_deref(), Some(ADA));
    assert!(slack.messages(CHANNEL).is_empty());
}

#[tokio::test]
async fn the_next_calls_fail_as_the_fault_says() {
    let slack = Slack::new(Config::new("secret", TOKEN));
    let args = json!({ "channel": CHANNEL, "text": "hi" });
    let fail = |fault| slack.add_fault(serde_json::from_value(fault).unwrap());
    fail(json!({ "method": "chat.postMessage", "error": "is_archived" }));
    let refused = answer(&slack, "chat.postMessage", args.clone()).await;
    assert_eq!(refused, json!({ "ok": false, "error": "is_archived" }));
    slack.add_fault(Fault::rate_limited("*", 7));
    let limited = call(&slack, "chat.postMessage", args.clone()).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    fail(json!({
        "method": "chat.postMessage", "status": 500, "channel": CHANNEL, "count": 2,
        "afterEffect": true,
    }));
    for _ in 0..2 {
        let failed = call(&slack, "chat.postMessage", args.clone()).await;
        assert_eq!(failed.status(), 500);
    }
    assert_eq!(
        slack.messages(CHANNEL).len(),
        2,
        "only the answers were lost"
    );
    assert_eq!(answer(&slack, "chat.postMessage", args).await["ok"], true);
}
