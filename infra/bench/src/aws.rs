//! AWS and Slack for the real binaries: an HTTP server before a [`FakeAws`] and the local Slack, which
//! keeps what was called, and from when to when.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use fake_aws::{FakeAws, Hook};
use local_slack::{Clock, Slack};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::common::lock;
use crate::log::{Call, Service};
use crate::slack::slack;

/// Where connections are managed.
pub(crate) const MANAGEMENT: &str = "/websocket";
/// The path of Slack's Web API.
pub(crate) const SLACK: &str = "/slack/api";
/// The path of the local Slack.
const LOCAL_SLACK: &str = "/slack";
/// What the floor exchanges bytes with: no call, and not counted.
const EXCHANGE: &str = "/exchange";
/// Bytes of a request at most.
const LARGEST: usize = 16 * 1024 * 1024;

tokio::task_local! {
    /// When the request was here that is being answered.
    static BEGAN: Instant;
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// Keeps the calls that come over HTTP.
struct Recorder(Calls);

#[async_trait]
impl Hook for Recorder {
    async fn after(&self, call: &fake_aws::Call) {
        if let Ok(began) = BEGAN.try_with(|began| *began) {
            lock(&self.0).push(Call::to_aws(call, began));
        }
    }
}

/// The server, while it runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) slack: Arc<Slack>,
    calls: Calls,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts it on a port of its own.
    pub(crate) async fn start(aws: FakeAws) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.context("no port is free for the bench's AWS")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (calls, slack) = (Calls::default(), slack(Clock::system()));
        aws.hook(Recorder(calls.clone()));
        let behind = Behind {
            aws,
            calls: calls.clone(),
            slack: local_slack::router(&slack),
        };
        let app = Router::new().fallback(answer).with_state(behind);
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.ok();
        });
        Ok(Self {
            url,
            slack,
            calls,
            task,
        })
    }

    /// What was called since this was asked for last.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut lock(&self.calls))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is behind the server.
#[derive(Clone)]
struct Behind {
    aws: FakeAws,
    calls: Calls,
    slack: Router,
}

async fn answer(State(behind): State<Behind>, request: Request) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let path = parts.uri.path();
    if path == EXCHANGE {
        return "{}".into_response();
    }
    if path.starts_with(SLACK) {
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        let request = Request::from_parts(parts, Body::from(body));
        return behind.slack(&method, request, began).await;
    }
    let request = Request::from_parts(parts, body.to_vec());
    match BEGAN.scope(began, behind.aws.handle(request)).await {
        Ok(response) => response.map(Body::from),
        Err(broken) => (StatusCode::BAD_GATEWAY, broken.to_string()).into_response(),
    }
}

impl Behind {
    /// Hands a call to the local Slack, and keeps it.
    async fn slack(self, method: &str, mut request: Request, began: Instant) -> Response {
        let path = request.uri().path().strip_prefix(LOCAL_SLACK);
        *request.uri_mut() = path.and_then(|path| path.parse().ok()).unwrap_or_default();
        let answer = self.slack.oneshot(request).await;
        lock(&self.calls).push(Call::new(Service::Slack, method, began));
        answer.into_response()
    }
}
