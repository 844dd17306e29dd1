//! Tests of the requests to the app: commands, events, pressed buttons.

use std::time::Duration;

use serde_json::{Value, json};

use super::app::{Answer, App};
use super::*;
use crate::Client;

async fn slack_for(app: &App) -> Fixture {
    let slack = Fixture::start_with(|config| {
        config.answer_within = Duration::from_millis(500);
        config.event_retries = vec![Duration::ZERO, Duration::from_millis(10)];
    })
    .await;
    slack.server.state().set_webhook(&app.url);
    slack
}

/// Returns the texts of the channel's ephemeral messages.
fn ephemeral(slack: &Fixture) -> Vec<String> {
    let messages = slack.server.state().ephemeral_messages(CHANNEL);
    messages.into_iter().map(|one| one.content.text).collect()
}

/// Waits until a condition holds.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("the condition");
}

#[tokio::test]
async fn a_command_is_signed_and_has_slacks_fields() {
    let mut app = App::start(&[Answer::Body(r#"{"text":"On its way"}"#)]).await;
    let slack = slack_for(&app).await;
    let client = Client::new(&slack.server.page_url(), CHANNEL, ADA);
    let said = client
        .send_command("/bm run fix <it> & ask @ada")
        .await
        .unwrap();
    assert_eq!(said.response, Some(json!({ "text": "On its way" })));
    let got = app.next().await;
    assert_eq!(got.path, "/slack/commands");
    assert!(got.is_signed_with(SECRET));
    assert_eq!(got.header("X-Slack-Request-Timestamp"), START.to_string());
    // As Slack writes it for an app whose manifest has `should_escape`.
    let text = format!("run fix &lt;it&gt; &amp; ask <@{ADA}>");
    for (name, value) in [
        ("command", "/bm"),
        ("text", &*text),
        ("channel_id", CHANNEL),
        ("channel_name", "engineering"),
        ("user_id", ADA),
        ("user_name", "ada"),
        ("team_id", "T0BEMATIC"),
        ("api_app_id", "A0BEMATIC"),
    ] {
        assert_eq!(got.field(name), value, "{name}");
    }
    assert!(!got.field("trigger_id").is_empty());
    assert_eq!(ephemeral(&slack), [&*format!("/bm {text}"), "On its way"]);
    assert!(
        slack.history().await.is_empty(),
        "an answer is ephemeral unless it says otherwise"
    );
}

#[tokio::test]
async fn an_answer_can_be_for_the_channel() {
    let app = App::start(&[Answer::Body(
        r#"{"response_type":"in_channel","text":"All"}"#,
    )])
    .await;
    let slack = slack_for(&app).await;
    slack.control("say", json!({ "text": "/bm tasks" })).await;
    assert_eq!(slack.history().await, ["All"]);
}

#[tokio::test]
async fn a_failed_command_shows_the_reason() {
    for (answer, note) in [
        (Answer::Never, "`operation_timeout`"),
        (
            Answer::Status(500),
            "`dispatch_failed`: the webhook answered with HTTP 500",
        ),
        (
            Answer::Body(r#"{"blocks":{}}"#),
            "`invalid_command_response`: invalid_blocks_format",
        ),
    ] {
        let app = App::start(&[answer]).await;
        let slack = slack_for(&app).await;
        slack.control("say", json!({ "text": "/bm run x" })).await;
        let shown = ephemeral(&slack);
        assert!(shown[1].contains(note), "{note} is not in {shown:?}");
    }
}

#[tokio::test]
async fn an_unreachable_webhook_is_reported() {
    let slack = Fixture::start().await;
    let said = slack.control("say", json!({ "text": "/bm run x" })).await;
    let error = said["delivery"]["error"].as_str().unwrap();
    assert!(error.contains("no webhook is set"), "{error}");
    slack.server.state().set_webhook("http://127.0.0.1:9");
    let said = slack.control("say", json!({ "text": "/bm run x" })).await;
    let error = said["delivery"]["error"].as_str().unwrap();
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn commands_that_slack_itself_refuses_never_reach_the_app() {
    let slack = Fixture::start().await;
    let ts = slack.post("a thread").await;
    slack.control("say", json!({ "text": "/deploy now" })).await;
    slack
        .control("say", json!({ "text": "/bm run x", "thread_ts": ts }))
        .await;
    let shown = ephemeral(&slack);
    assert!(shown[1].contains("not a valid command"), "{shown:?}");
    assert!(shown[3].contains("not supported in threads"), "{shown:?}");
}

#[tokio::test]
async fn a_mention_is_a_message_and_an_event() {
    let mut app = App::start(&[]).await;
    let slack = slack_for(&app).await;
    let client = Client::new(&slack.server.page_url(), CHANNEL, ADA);
    let first = client.mention("fix it", None).await.unwrap().ts.unwrap();
    let got = app.next().await;
    assert_eq!(got.path, "/slack/events");
    assert!(got.is_signed_with(SECRET));
    let body: Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!(body["type"], "event_callback");
    assert!(body["event_id"].as_str().unwrap().starts_with("Ev"));
    assert_eq!(body["event_time"], START);
    assert_eq!(body["authorizations"][0]["user_id"], "U0BEMATIC");
    let event = &body["event"];
    assert_eq!(event["type"], "app_mention");
    assert_eq!(event["text"], "<@U0BEMATIC> fix it");
    assert_eq!((&event["ts"], &event["user"]), (&json!(first), &json!(ADA)));
    assert!(event["thread_ts"].is_null());

    client.mention("and that", Some(first)).await.unwrap();
    let body: Value = serde_json::from_str(&app.next().await.body).unwrap();
    assert_eq!(body["event"]["thread_ts"], json!(first));
    let replies = json!({ "channel": CHANNEL, "ts": first });
    let thread = slack.ok("conversations.replies", replies).await;
    assert_eq!(
        texts(&thread),
        ["<@U0BEMATIC> fix it", "<@U0BEMATIC> and that"]
    );
}

#[tokio::test]
async fn a_message_without_a_mention_is_no_event() {
    let slack = Fixture::start().await;
    let said = slack
        .control("say", json!({ "text": "hello @grace" }))
        .await;
    assert_eq!(said["delivery"], Value::Null);
    assert_eq!(slack.history().await, ["hello <@U0GRACE>"]);
}

#[tokio::test]
async fn an_event_is_sent_again_until_the_app_accepts_it() {
    let mut app = App::start(&[Answer::Status(500), Answer::Never]).await;
    let slack = slack_for(&app).await;
    let said = slack.control("say", json!({ "text": "@Bematic go" })).await;
    assert_eq!(said["delivery"]["status"], 500);
    let (first, second, third) = (app.next().await, app.next().await, app.next().await);
    // The note about the second failure is removed.
    until(|| ephemeral(&slack).is_empty()).await;
    assert_eq!(first.header("X-Slack-Retry-Num"), "");
    assert_eq!(second.header("X-Slack-Retry-Num"), "1");
    assert_eq!(second.header("X-Slack-Retry-Reason"), "http_error");
    assert_eq!(third.header("X-Slack-Retry-Num"), "2");
    assert_eq!(third.header("X-Slack-Retry-Reason"), "http_timeout");
    assert!(third.is_signed_with(SECRET));
    assert_eq!(first.body, third.body, "the same event_id");
}

#[tokio::test]
async fn an_event_that_the_app_never_accepts_leaves_one_note() {
    let app = App::start(&[Answer::Status(500); 4]).await;
    let slack = slack_for(&app).await;
    slack.control("say", json!({ "text": "@Bematic go" })).await;
    let gives_up = |note: &String| note.ends_with("not trying again.");
    until(|| ephemeral(&slack).iter().any(gives_up)).await;
    assert_eq!(ephemeral(&slack).len(), 1);
}

#[tokio::test]
async fn an_app_can_refuse_retries() {
    let mut app = App::start(&[Answer::NoRetry]).await;
    let slack = slack_for(&app).await;
    slack.control("say", json!({ "text": "@Bematic go" })).await;
    slack
        .control("say", json!({ "text": "@Bematic again" }))
        .await;
    assert!(app.next().await.body.contains("go"));
    let second = app.next().await;
    assert!(
        second.body.contains("again"),
        "not a retry: {}",
        second.body
    );
}

#[tokio::test]
async fn setting_the_webhook_can_verify_it() {
    let app = App::start(&[Answer::Body("not the challenge")]).await;
    let slack = Fixture::start().await;
    let answer = slack
        .control("webhook", json!({ "base": app.url, "verify": true }))
        .await;
    assert_eq!(answer["ok"], false);
}

#[tokio::test]
async fn a_pressed_button_is_a_signed_interaction() {
    let mut app = App::start(&[]).await;
    let slack = slack_for(&app).await;
    let button = json!({ "type": "button", "action_id": "cancel", "value": "t1",
        "text": { "type": "plain_text", "text": "Cancel" } });
    let blocks = json!([{ "type": "actions", "block_id": "b1", "elements": [button] }]);
    let args = json!({ "channel": CHANNEL, "text": "card", "blocks": blocks });
    let ts = slack.ok("chat.postMessage", args).await["ts"].clone();
    slack
        .control("click", json!({ "message_ts": ts, "action_id": "cancel" }))
        .await;
    let got = app.next().await;
    assert_eq!(got.path, "/slack/interactions");
    assert!(got.is_signed_with(SECRET));
    let payload: Value = serde_json::from_str(&got.field("payload")).unwrap();
    assert_eq!(payload["type"], "block_actions");
    assert_eq!(payload["user"]["id"], ADA);
    assert_eq!(payload["container"]["message_ts"], ts);
    assert_eq!(payload["message"]["text"], "card");
    let action = &payload["actions"][0];
    assert_eq!(
        (&action["value"], &action["block_id"]),
        (&json!("t1"), &json!("b1"))
    );

    let stale =
        json!({ "message_ts": ts, "action_id": "cancel", "block_id": "of an older update" });
    slack.control("click", stale).await;
    assert!(
        app.next()
            .await
            .field("payload")
            .contains("\"block_id\":\"b1\"")
    );

    let url = payload["response_url"].as_str().unwrap();
    let body = json!({ "replace_original": true, "text": "cancelled" });
    for _ in 0..5 {
        assert_eq!(
            slack
                .http
                .post(url)
                .json(&body)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    assert_eq!(slack.history().await, ["cancelled"]);
    let sixth = slack.http.post(url).json(&body).send().await.unwrap();
    assert_eq!(sixth.json::<Value>().await.unwrap()["error"], "used_url");
}

#[tokio::test]
async fn pressing_what_is_not_there_is_refused() {
    let slack = Fixture::start().await;
    let ts = slack.post("no buttons").await;
    let click = json!({ "message_ts": ts, "action_id": "cancel" });
    assert_eq!(
        slack.control("click", click).await["error"],
        "invalid_arguments"
    );
}

#[tokio::test]
async fn a_response_url_works_for_half_an_hour() {
    let mut app = App::start(&[]).await;
    let slack = slack_for(&app).await;
    slack.control("say", json!({ "text": "/bm tasks" })).await;
    let url = app.next().await.field("response_url");
    let post = async || {
        let body = json!({ "response_type": "in_channel", "text": "later" });
        slack
            .http
            .post(&url)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(post().await, 200);
    slack.advance_secs(31 * 60);
    assert_eq!(post().await, 404);
    assert_eq!(slack.history().await, ["later"]);
}

#[tokio::test]
async fn a_trigger_opens_one_modal_within_three_seconds() {
    let mut app = App::start(&[]).await;
    let slack = slack_for(&app).await;
    let mut trigger = async || {
        slack.control("say", json!({ "text": "/bm run" })).await;
        app.next().await.field("trigger_id")
    };
    let view = json!({ "type": "modal", "title": { "type": "plain_text", "text": "Run" },
        "blocks": [{ "type": "divider" }] });
    let open = async |trigger: &str| {
        slack
            .api("views.open", json!({ "trigger_id": trigger, "view": view }))
            .await
    };
    let first = trigger().await;
    assert!(open(&first).await["view"]["id"].is_string());
    assert_eq!(open(&first).await["error"], "invalid_trigger_id");
    let late = trigger().await;
    slack.advance_secs(4);
    assert_eq!(open(&late).await["error"], "expired_trigger_id");
}
