//! A test double of an app: it records the requests that it receives, and gives prepared answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::request::sign;

/// A request that the app received.
pub(super) struct Received {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// Whether the request's signature is valid.
    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let timestamp = self
            .header("X-Slack-Request-Timestamp")
            .parse()
            .expect("seconds");
        sign(secret, timestamp, &self.body) == self.header("X-Slack-Signature")
    }

    pub(super) fn field(&self, name: &str) -> String {
        let found = url::form_urlencoded::parse(self.body.as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned());
        found.unwrap_or_else(|| panic!("no {name} in {}", self.body))
    }
}

/// A prepared answer of the app.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Body(&'static str),
    Status(u16),
    NoRetry,
    Never,
}

pub(super) struct App {
    pub(super) url: String,
    got: mpsc::UnboundedReceiver<Received>,
}

impl App {
    /// Starts an app that gives these answers in order, and then 200 to every request.
    pub(super) async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, got) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
        let handler = move |uri: Uri, headers: HeaderMap, body: String| {
            let answer = answers.lock().expect("no panic").pop_front();
            let _ = sender.send(Received {
                path: uri.path().to_owned(),
                headers,
                body,
            });
            answer_with(answer.unwrap_or(Answer::Body("")))
        };
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(handler)).await });
        Self { url, got }
    }

    /// Waits for the next request.
    pub(super) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(Duration::from_secs(10), self.got.recv()).await;
        next.expect("a request within 10 s").expect("the app runs")
    }
}

async fn answer_with(answer: Answer) -> (StatusCode, HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    match answer {
        Answer::Body(body) => (StatusCode::OK, headers, Bytes::from(body)),
        Answer::Status(status) => (
            StatusCode::from_u16(status).expect("a status"),
            headers,
            Bytes::new(),
        ),
        Answer::NoRetry => {
            headers.insert("X-Slack-No-Retry", "1".parse().expect("a value"));
            (StatusCode::INTERNAL_SERVER_ERROR, headers, Bytes::new())
        }
        Answer::Never => std::future::pending().await,
    }
}
