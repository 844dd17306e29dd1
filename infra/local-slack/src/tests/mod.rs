//! Tests of the local Slack over HTTP, and in process.

mod app;
mod control;
mod conversations;
mod in_process;
mod live;
mod refusals;
mod sending;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::{Clock, Config, Server};

const SECRET: &str = "signing-secret";
const TOKEN: &str = "xoxb-test";
const CHANNEL: &str = "C0ENGINEERING";
const ADA: &str = "U0ADA";
/// The time at which the tests' clock starts, in Unix seconds.
const START: u64 = 1_700_000_000;

/// A local Slack with a clock that advances only when the test does so.
struct Fixture {
    server: Server,
    http: reqwest::Client,
    clock: Arc<AtomicU64>,
}

impl Fixture {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        let clock = Arc::new(AtomicU64::new(START * 1_000_000));
        let mut config = Config::new(SECRET, TOKEN);
        let micros = clock.clone();
        config.clock = Clock::new(move || micros.load(Ordering::Relaxed));
        adjust(&mut config);
        let server = Server::start(config).await.expect("a free port");
        Self {
            server,
            http: reqwest::Client::new(),
            clock,
        }
    }

    fn advance_secs(&self, secs: u64) {
        self.clock.fetch_add(secs * 1_000_000, Ordering::Relaxed);
    }

    /// Calls a Web API method.
    async fn api(&self, method: &str, args: Value) -> Value {
        self.api_response(method, args)
            .await
            .json()
            .await
            .expect("JSON")
    }

    async fn api_response(&self, method: &str, args: Value) -> reqwest::Response {
        let url = format!("{}/{method}", self.server.api_url());
        let request = self.http.post(url).bearer_auth(TOKEN).json(&args);
        request.send().await.expect("an answer")
    }

    /// Calls a method that must succeed.
    async fn ok(&self, method: &str, args: Value) -> Value {
        let answer = self.api(method, args).await;
        assert_eq!(answer["ok"], true, "{method}: {answer}");
        answer
    }

    /// Calls a method that must fail, and returns the error.
    async fn error(&self, method: &str, args: Value) -> String {
        let answer = self.api(method, args).await;
        assert_eq!(answer["ok"], false, "{method}: {answer}");
        answer["error"].as_str().expect("an error").to_owned()
    }

    /// Posts as the bot, and returns the `ts`.
    async fn post(&self, text: &str) -> String {
        let answer = self
            .ok(
                "chat.postMessage",
                json!({ "channel": CHANNEL, "text": text }),
            )
            .await;
        answer["ts"].as_str().expect("a ts").to_owned()
    }

    async fn reply(&self, thread: &str, text: &str) -> String {
        let args = json!({ "channel": CHANNEL, "text": text, "thread_ts": thread });
        self.ok("chat.postMessage", args).await["ts"]
            .as_str()
            .expect("a ts")
            .to_owned()
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/control/{path}", self.server.page_url());
        let answer = self
            .http
            .post(url)
            .json(&body)
            .send()
            .await
            .expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// Returns the texts of a channel's history, newest first.
    async fn history(&self) -> Vec<String> {
        let answer = self
            .ok("conversations.history", json!({ "channel": CHANNEL }))
            .await;
        texts(&answer)
    }
}

fn texts(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().expect("messages");
    messages
        .iter()
        .map(|message| message["text"].as_str().expect("a text").to_owned())
        .collect()
}
