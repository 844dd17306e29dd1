//! Tests of posting, changing and reading messages.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn posted_messages_are_read_newest_first() {
    let slack = Fixture::start().await;
    let first = slack.post("one").await;
    let second = slack.post("two").await;
    assert_eq!(first, "1700000000.000000");
    assert!(
        first < second,
        "unique and ordered though the clock stands still"
    );
    assert_eq!(slack.history().await, ["two", "one"]);
}

#[tokio::test]
async fn a_form_is_equivalent_to_json() {
    let slack = Fixture::start().await;
    let blocks = json!([{ "type": "divider" }]).to_string();
    let form = [
        ("channel", CHANNEL),
        ("text", "a form"),
        ("blocks", blocks.as_str()),
    ];
    let url = format!("{}/chat.postMessage", slack.server.api_url());
    let response = slack
        .http
        .post(url)
        .bearer_auth(TOKEN)
        .form(&form)
        .send()
        .await
        .unwrap();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        answer["message"]["blocks"][0]["type"], "divider",
        "{answer}"
    );
    assert!(answer["message"]["blocks"][0]["block_id"].is_string());
}

#[tokio::test]
async fn an_update_changes_the_message_in_place() {
    let slack = Fixture::start().await;
    let blocks = json!([{ "type": "markdown", "text": "*working*" }]);
    let posted = slack
        .ok(
            "chat.postMessage",
            json!({ "channel": CHANNEL, "text": "working", "blocks": blocks }),
        )
        .await;
    let args = json!({ "channel": CHANNEL, "ts": posted["ts"], "text": "completed" });
    let updated = slack.ok("chat.update", args).await;
    assert_eq!(updated["ts"], posted["ts"]);
    assert_eq!(
        updated["message"]["blocks"], posted["message"]["blocks"],
        "not given, so kept"
    );
    assert!(updated["message"]["edited"]["ts"].is_string());
    let args = json!({ "channel": CHANNEL, "ts": posted["ts"], "text": "plain", "blocks": [] });
    assert!(slack.ok("chat.update", args).await["message"]["blocks"].is_null());
    assert_eq!(slack.history().await, ["plain"]);
}

#[tokio::test]
async fn a_thread_is_counted_on_its_first_message_and_read_oldest_first() {
    let slack = Fixture::start().await;
    let ts = slack.post("question").await;
    let reply = slack.reply(&ts, "first").await;
    let last = slack.reply(&ts, "second").await;
    let history = slack
        .ok("conversations.history", json!({ "channel": CHANNEL }))
        .await;
    assert_eq!(
        texts(&history),
        ["question"],
        "replies are in their thread only"
    );
    let message = &history["messages"][0];
    assert_eq!(message["reply_count"], 2);
    assert_eq!(message["latest_reply"], last);
    assert_eq!(message["thread_ts"], ts);
    let replies = json!({ "channel": CHANNEL, "ts": ts });
    let thread = slack.ok("conversations.replies", replies).await;
    assert_eq!(texts(&thread), ["question", "first", "second"]);
    slack
        .ok("chat.delete", json!({ "channel": CHANNEL, "ts": reply }))
        .await;
    let thread = slack
        .ok(
            "conversations.replies",
            json!({ "channel": CHANNEL, "ts": last }),
        )
        .await;
    assert_eq!(texts(&thread), ["question", "second"]);
}

/// Reads all pages, of two messages each.
async fn pages(slack: &Fixture, method: &str, mut args: Value) -> Vec<Vec<String>> {
    args["channel"] = json!(CHANNEL);
    args["limit"] = json!(2);
    let mut pages = Vec::new();
    loop {
        let answer = slack.ok(method, args.clone()).await;
        pages.push(texts(&answer));
        let next = &answer["response_metadata"]["next_cursor"];
        assert_eq!(answer["has_more"], next.is_string());
        if next.is_null() {
            return pages;
        }
        args["cursor"] = next.clone();
    }
}

#[tokio::test]
async fn history_and_replies_come_in_pages() {
    let slack = Fixture::start().await;
    let ts = slack.post("0").await;
    for text in ["1", "2", "3", "4"] {
        slack.post(text).await;
        slack.reply(&ts, &format!("reply {text}")).await;
    }
    let history = pages(&slack, "conversations.history", json!({})).await;
    assert_eq!(history.concat(), ["4", "3", "2", "1", "0"]);
    assert_eq!(history.len(), 3);
    let replies = pages(&slack, "conversations.replies", json!({ "ts": ts })).await;
    assert_eq!(
        replies.concat(),
        ["0", "reply 1", "reply 2", "reply 3", "reply 4"]
    );
}

#[tokio::test]
async fn history_has_bounds() {
    let slack = Fixture::start().await;
    let mut stamps = Vec::new();
    for text in ["0", "1", "2", "3"] {
        stamps.push(slack.post(text).await);
        slack.advance_secs(1);
    }
    let between = async |inclusive: bool| {
        let args = json!({ "channel": CHANNEL, "oldest": stamps[0], "latest": stamps[2], "inclusive": inclusive });
        texts(&slack.ok("conversations.history", args).await)
    };
    assert_eq!(between(false).await, ["1"]);
    assert_eq!(between(true).await, ["2", "1", "0"]);
}

#[tokio::test]
async fn metadata_is_given_to_those_who_ask() {
    let slack = Fixture::start().await;
    let metadata = json!({ "event_type": "task", "event_payload": { "id": "t1" } });
    let args = json!({ "channel": CHANNEL, "text": "card", "metadata": metadata });
    slack.ok("chat.postMessage", args).await;
    let plain = slack
        .ok("conversations.history", json!({ "channel": CHANNEL }))
        .await;
    assert!(plain["messages"][0]["metadata"].is_null());
    let args = json!({ "channel": CHANNEL, "include_all_metadata": true });
    let full = slack.ok("conversations.history", args).await;
    assert_eq!(full["messages"][0]["metadata"], metadata);
}

#[tokio::test]
async fn an_ephemeral_message_is_in_no_history() {
    let slack = Fixture::start().await;
    let args = json!({ "channel": CHANNEL, "text": "psst", "user": ADA });
    assert!(slack.ok("chat.postEphemeral", args).await["message_ts"].is_string());
    assert!(slack.history().await.is_empty());
}

#[tokio::test]
async fn people_and_channels_can_be_looked_up() {
    let slack = Fixture::start().await;
    let user = slack.ok("users.info", json!({ "user": ADA })).await;
    assert_eq!(user["user"]["real_name"], "Ada Lovelace");
    let bot = slack.ok("users.info", json!({ "user": "U0BEMATIC" })).await;
    assert_eq!(bot["user"]["is_bot"], true);
    assert_eq!(user["user"]["is_restricted"], false);
    for (changed, fields) in [
        (
            json!({ "is_restricted": true }),
            json!([true, false, false]),
        ),
        (
            json!({ "is_ultra_restricted": true }),
            json!([true, true, false]),
        ),
        (json!({ "deleted": true }), json!([null, null, true])),
        (json!({}), json!([false, false, false])),
    ] {
        let mut person = json!({ "id": ADA, "name": "ada", "real_name": "Ada Lovelace" });
        let object = person.as_object_mut().unwrap();
        object.extend(changed.as_object().unwrap().clone());
        slack.control("users", person).await;
        let user = &slack.ok("users.info", json!({ "user": ADA })).await["user"];
        let names = ["is_restricted", "is_ultra_restricted", "deleted"];
        assert_eq!(json!(names.map(|it| &user[it])), fields, "{changed}");
    }
    let channel = slack
        .ok("conversations.info", json!({ "channel": CHANNEL }))
        .await;
    assert_eq!(channel["channel"]["name"], "engineering");
    assert_eq!(
        slack.ok("auth.test", json!({})).await["user_id"],
        "U0BEMATIC"
    );
}

#[tokio::test]
async fn only_the_newest_messages_are_kept() {
    let slack = Fixture::start_with(|config| config.max_messages = 3).await;
    for text in ["1", "2", "3", "4", "5"] {
        slack.post(text).await;
    }
    assert_eq!(slack.history().await, ["5", "4", "3"]);
}

#[tokio::test]
async fn a_workspace_can_know_everybody() {
    let slack = Fixture::start_with(|config| config.knows_everybody = true).await;
    let user = &slack.ok("users.info", json!({ "user": "U404" })).await["user"];
    assert_eq!(user["id"], "U404");
    let is_outsider = ["deleted", "is_bot", "is_restricted", "is_stranger"];
    assert!(is_outsider.iter().all(|it| user[it] == false), "{user}");
}
