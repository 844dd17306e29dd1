//! Tests of calls that Slack refuses.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_call_needs_the_bot_token() {
    let slack = Fixture::start().await;
    let url = format!("{}/auth.test", slack.server.api_url());
    for (request, error) in [
        (slack.http.post(&url), "not_authed"),
        (
            slack.http.post(&url).bearer_auth("xoxb-other"),
            "invalid_auth",
        ),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(
            (&answer["ok"], &answer["error"]),
            (&json!(false), &json!(error))
        );
    }
}

#[tokio::test]
async fn missing_channels_users_and_messages_are_not_found() {
    let slack = Fixture::start().await;
    let ts = slack.post("hello").await;
    let reply = slack.reply(&ts, "a reply").await;
    let nowhere = "1600000000.000001";
    for (method, args, error) in [
        ("chat.launch", json!({}), "unknown_method"),
        (
            "chat.postMessage",
            json!({ "text": "hi" }),
            "invalid_arguments",
        ),
        (
            "chat.postMessage",
            json!({ "channel": "C404", "text": "hi" }),
            "channel_not_found",
        ),
        (
            "chat.postMessage",
            json!({ "channel": CHANNEL, "text": "hi", "thread_ts": nowhere }),
            "thread_not_found",
        ),
        (
            "chat.postMessage",
            json!({ "channel": CHANNEL, "text": "hi", "thread_ts": reply }),
            "cannot_reply_to_message",
        ),
        (
            "chat.postEphemeral",
            json!({ "channel": CHANNEL, "text": "hi", "user": "U404" }),
            "user_not_in_channel",
        ),
        (
            "chat.update",
            json!({ "channel": CHANNEL, "text": "hi", "ts": nowhere }),
            "message_not_found",
        ),
        (
            "chat.update",
            json!({ "channel": CHANNEL, "text": "hi", "ts": "soon" }),
            "message_not_found",
        ),
        (
            "chat.update",
            json!({ "channel": "C404", "text": "hi", "ts": ts }),
            "channel_not_found",
        ),
        (
            "chat.update",
            json!({ "channel": CHANNEL, "ts": ts }),
            "no_text",
        ),
        (
            "chat.delete",
            json!({ "channel": CHANNEL, "ts": nowhere }),
            "message_not_found",
        ),
        (
            "conversations.history",
            json!({ "channel": "C404" }),
            "channel_not_found",
        ),
        (
            "conversations.history",
            json!({ "channel": CHANNEL, "limit": 1000 }),
            "invalid_limit",
        ),
        (
            "conversations.history",
            json!({ "channel": CHANNEL, "cursor": "zz" }),
            "invalid_cursor",
        ),
        (
            "conversations.history",
            json!({ "channel": CHANNEL, "latest": "x" }),
            "invalid_ts_latest",
        ),
        (
            "conversations.replies",
            json!({ "channel": CHANNEL, "ts": nowhere }),
            "thread_not_found",
        ),
        (
            "conversations.info",
            json!({ "channel": "C404" }),
            "channel_not_found",
        ),
        ("users.info", json!({ "user": "U404" }), "user_not_found"),
    ] {
        assert_eq!(
            slack.error(method, args.clone()).await,
            error,
            "{method} {args}"
        );
    }
}

#[tokio::test]
async fn the_bot_changes_only_its_own_messages() {
    let slack = Fixture::start().await;
    let said = slack.control("say", json!({ "text": "mine" })).await;
    let args = json!({ "channel": CHANNEL, "ts": said["ts"], "text": "not yours" });
    assert_eq!(
        slack.error("chat.update", args.clone()).await,
        "cant_update_message"
    );
    assert_eq!(
        slack.error("chat.delete", args).await,
        "cant_delete_message"
    );
    assert_eq!(slack.history().await, ["mine"]);
}

#[tokio::test]
async fn the_bot_posts_only_to_channels_that_it_is_a_member_of() {
    let slack = Fixture::start().await;
    slack
        .control(
            "channels",
            json!({ "id": "C0PRIVATE", "name": "private", "has_bot": false }),
        )
        .await;
    let args = json!({ "channel": "C0PRIVATE", "text": "hi" });
    assert_eq!(
        slack.error("chat.postMessage", args).await,
        "not_in_channel"
    );
}

#[tokio::test]
async fn texts_have_limits() {
    let slack = Fixture::start().await;
    let post = |text: String| {
        slack.api(
            "chat.postMessage",
            json!({ "channel": CHANNEL, "text": text }),
        )
    };
    assert_eq!(post(String::new()).await["error"], "no_text");
    assert_eq!(post("x".repeat(40_000)).await["ok"], true);
    assert_eq!(post("x".repeat(40_001)).await["error"], "msg_too_long");
    let ts = slack.post("short").await;
    let update = json!({ "channel": CHANNEL, "ts": ts, "text": "x".repeat(4_001) });
    assert_eq!(slack.error("chat.update", update).await, "msg_too_long");
}

#[tokio::test]
async fn metadata_has_a_form_and_a_limit() {
    let slack = Fixture::start().await;
    let post = |metadata: Value| {
        slack.api(
            "chat.postMessage",
            json!({ "channel": CHANNEL, "text": "x", "metadata": metadata }),
        )
    };
    let event = |payload| json!({ "event_type": "task", "event_payload": { "id": payload } });
    assert_eq!(
        post(json!({ "id": 1 })).await["error"],
        "invalid_metadata_format"
    );
    assert_eq!(
        post(event("x".repeat(8_000))).await["error"],
        "metadata_too_large"
    );
    assert_eq!(post(event("t1".into())).await["ok"], true);
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

fn button(text: &str, action_id: &str, value: &str) -> Value {
    json!({ "type": "button", "text": { "type": "plain_text", "text": text },
        "action_id": action_id, "value": value })
}

fn actions(elements: &Value) -> Value {
    json!([{ "type": "actions", "elements": elements }])
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

#[tokio::test]
async fn blocks_that_slack_refuses() {
    let slack = Fixture::start().await;
    let text = |kind: &str, text: String| json!({ "type": kind, "text": text });
    let header = |inner: Value| json!([{ "type": "header", "text": inner }]);
    let fields = |all: Vec<Value>| json!([{ "type": "section", "fields": all }]);
    let context = |all: Vec<Value>| json!([{ "type": "context", "elements": all }]);
    let with_id = |id: &str| json!({ "type": "divider", "block_id": id });
    for (blocks, problem) in [
        (
            json!(vec![json!({ "type": "divider" }); 51]),
            "no more than 50 items",
        ),
        (
            json!([{ "type": "carousel_of_horrors" }]),
            "unsupported type",
        ),
        (
            json!([{ "type": "section" }]),
            "missing required field: text",
        ),
        (json!([section("")]), "more than 0 characters"),
        (json!([section(&long(3_001))]), "less than 3001 characters"),
        (
            header(text("mrkdwn", "x".into())),
            "must be a plain_text object",
        ),
        (
            header(text("plain_text", long(151))),
            "less than 151 characters",
        ),
        (fields(vec![]), "at least 1 item"),
        (
            fields(vec![text("mrkdwn", "x".into()); 11]),
            "no more than 10 items",
        ),
        (
            fields(vec![text("mrkdwn", long(2_001))]),
            "less than 2001 characters",
        ),
        (context(vec![]), "at least 1 item"),
        (
            context(vec![text("mrkdwn", "x".into()); 11]),
            "no more than 10 items",
        ),
        (actions(&json!([])), "at least 1 item"),
        (
            actions(&json!(vec![
                json!({ "type": "button", "text": text("plain_text", "x".into()) });
                26
            ])),
            "no more than 25 items",
        ),
        (
            actions(&json!([button("", "a", "v")])),
            "more than 0 characters",
        ),
        (
            actions(&json!([button(&long(76), "a", "v")])),
            "less than 76 characters",
        ),
        (
            actions(&json!([button("x", &long(256), "v")])),
            "less than 256 characters",
        ),
        (
            actions(&json!([button("x", "a", &long(2_001))])),
            "less than 2001 characters",
        ),
        (
            actions(&json!([button("x", "a", "1"), button("y", "a", "2")])),
            "`action_id` a already exists",
        ),
        (
            json!([with_id("same"), with_id("same")]),
            "`block_id` same already exists",
        ),
        (json!([with_id(&long(256))]), "less than 256 characters"),
        (
            json!([{ "type": "image", "image_url": "https://a.example/x.png" }]),
            "/blocks/0/alt_text",
        ),
        (
            json!([{ "type": "markdown", "text": "" }]),
            "more than 0 characters",
        ),
        (
            json!([{ "type": "rich_text", "elements": [{ "type": "text" }] }]),
            "unsupported element",
        ),
    ] {
        let answer = slack
            .api(
                "chat.postMessage",
                json!({ "channel": CHANNEL, "blocks": blocks }),
            )
            .await;
        assert_eq!(answer["error"], "invalid_blocks", "{problem}: {answer}");
        let messages = answer["response_metadata"]["messages"].to_string();
        assert!(messages.contains(problem), "{problem} is not in {messages}");
    }
    assert!(slack.history().await.is_empty());
}

#[tokio::test]
async fn blocks_at_their_limits_pass() {
    let slack = Fixture::start().await;
    for blocks in [
        json!(vec![json!({ "type": "divider" }); 50]),
        json!([section(&long(3_000))]),
        json!([{ "type": "header", "text": { "type": "plain_text", "text": long(150) } }]),
        json!([{ "type": "markdown", "text": long(12_000) }]),
        actions(&json!([button(&long(75), &long(255), &long(2_000))])),
    ] {
        slack
            .ok(
                "chat.postMessage",
                json!({ "channel": CHANNEL, "blocks": blocks }),
            )
            .await;
    }
}

#[tokio::test]
async fn blocks_that_are_not_a_list_are_a_format_error() {
    let slack = Fixture::start().await;
    for blocks in [
        json!({}),
        json!("not json"),
        json!(["text"]),
        json!([{ "text": "x" }]),
    ] {
        let args = json!({ "channel": CHANNEL, "blocks": blocks });
        assert_eq!(
            slack.error("chat.postMessage", args).await,
            "invalid_blocks_format"
        );
    }
}

#[tokio::test]
async fn all_blocks_together_have_a_limit() {
    let slack = Fixture::start().await;
    let many = |count| json!({ "channel": CHANNEL, "blocks": vec![section(&long(2_750)); count] });
    slack.ok("chat.postMessage", many(4)).await;
    assert_eq!(
        slack.error("chat.postMessage", many(5)).await,
        "msg_blocks_too_long"
    );
    let markdown = json!([{ "type": "markdown", "text": long(6_000) }, { "type": "markdown", "text": long(6_001) }]);
    let args = json!({ "channel": CHANNEL, "blocks": markdown });
    assert_eq!(
        slack.error("chat.postMessage", args).await,
        "msg_blocks_too_long"
    );
}

#[tokio::test]
async fn bodies_that_are_no_arguments() {
    let slack = Fixture::start().await;
    let url = format!("{}/chat.postMessage", slack.server.api_url());
    for (kind, body, error) in [
        ("application/json; charset=utf-8", "{", "invalid_json"),
        ("application/json", "[]", "invalid_json"),
        ("text/xml", "<a/>", "invalid_form_data"),
    ] {
        let request = slack
            .http
            .post(&url)
            .bearer_auth(TOKEN)
            .header(CONTENT_TYPE, kind)
            .body(body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["error"], error, "{kind} {body}");
    }
}

#[tokio::test]
async fn what_a_page_of_another_site_sends_is_refused_and_changes_nothing() {
    let slack = Fixture::start().await;
    let own = slack.server.page_url();
    let say = json!({ "channel": CHANNEL, "user": ADA, "text": "hello" }).to_string();
    let post = async |name: &str, value: &str| {
        let request = slack
            .http
            .post(format!("{own}/control/say"))
            .header(CONTENT_TYPE, "application/json")
            .header(name, value)
            .body(say.clone());
        request.send().await.unwrap().status().as_u16()
    };
    for (name, value) in [
        ("Host", "evil.example"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        assert_eq!(post(name, value).await, 403, "{name}: {value}");
    }
    let preflight = slack
        .http
        .request(Method::OPTIONS, format!("{own}/control/say"))
        .header("Origin", &own)
        .header("Access-Control-Request-Method", "POST");
    let answer = preflight.send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    assert!(slack.history().await.is_empty());

    assert_eq!(post("Origin", &own).await, 200);
    assert_eq!(slack.history().await, ["hello"]);
}
