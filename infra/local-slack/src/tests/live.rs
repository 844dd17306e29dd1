//! Tests of the page and its event stream.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// An open page.
struct Page {
    response: reqwest::Response,
    pending: String,
}

impl Page {
    async fn open(slack: &Fixture) -> Self {
        let url = format!("{}/live", slack.server.page_url());
        let response = slack.http.get(url).send().await.unwrap();
        Self {
            response,
            pending: String::new(),
        }
    }

    /// Waits for the next change; `None` if the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.pending.split_once("\n\n") {
                let data = event.strip_prefix("data: ").map(str::to_owned);
                self.pending = rest.to_owned();
                if let Some(data) = data {
                    return Some(serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk());
            let chunk = chunk
                .await
                .expect("a change within 10 s")
                .unwrap_or_default()?;
            self.pending.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn an_open_page_gets_a_snapshot_and_then_every_change() {
    let slack = Fixture::start().await;
    let ts = slack.post("before").await;
    let mut page = Page::open(&slack).await;
    let snapshot = page.next().await.unwrap();
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(snapshot["messages"][CHANNEL][0]["text"], "before");
    slack
        .ok(
            "chat.update",
            json!({ "channel": CHANNEL, "ts": ts, "text": "after" }),
        )
        .await;
    let change = page.next().await.unwrap();
    assert_eq!(
        (&change["type"], &change["channel"]),
        (&json!("message"), &json!(CHANNEL))
    );
    assert_eq!(
        (&change["message"]["ts"], &change["message"]["text"]),
        (&json!(ts), &json!("after"))
    );
    slack
        .ok("chat.delete", json!({ "channel": CHANNEL, "ts": ts }))
        .await;
    assert_eq!(page.next().await.unwrap()["type"], "deleted");
}

#[tokio::test]
async fn an_ephemeral_message_names_who_may_see_it() {
    let slack = Fixture::start().await;
    let mut page = Page::open(&slack).await;
    page.next().await;
    slack
        .ok(
            "chat.postEphemeral",
            json!({ "channel": CHANNEL, "text": "psst", "user": ADA }),
        )
        .await;
    assert_eq!(page.next().await.unwrap()["message"]["only_for"], ADA);
}

#[tokio::test]
async fn shutting_down_ends_open_pages() {
    let slack = Fixture::start().await;
    let mut page = Page::open(&slack).await;
    page.next().await;
    slack.server.shutdown().await;
    assert!(page.next().await.is_none());
}

#[tokio::test]
async fn the_page_and_its_files_are_served() {
    let slack = Fixture::start().await;
    let get = async |path: &str| {
        let url = format!("{}{path}", slack.server.page_url());
        let response = slack.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.headers().contains_key("content-security-policy"));
        response.text().await.unwrap()
    };
    let html = get("/").await;
    assert!(html.contains("/assets/style.css") && html.contains("/assets/app.js"));
    let mut wanted = vec!["app.js".to_owned()];
    let mut seen = Vec::new();
    while let Some(module) = wanted.pop() {
        let script = get(&format!("/assets/{module}")).await;
        let imports = script
            .split("from './")
            .skip(1)
            .filter_map(|rest| rest.split('\'').next());
        wanted.extend(
            imports
                .filter(|name| !seen.iter().any(|one| one == name))
                .map(str::to_owned),
        );
        seen.push(module);
    }
    assert!(seen.iter().any(|module| module == "blocks.js"), "{seen:?}");
    get("/assets/style.css").await;
}
