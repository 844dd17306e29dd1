//! A Lambda Runtime API for one execution environment.
//!
//! What is timed: the first poll for an invocation, when an invocation was handed out, and when its
//! answer was here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bematic_protocol::time::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as Queue, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Which function an environment is of, as far as the Runtime API says so.
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:bench";

/// What came of an invocation, or of the start.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// When the invocation was handed out.
    pub(crate) handed: Instant,
    /// When the answer was here.
    pub(crate) answered: Instant,
    /// What was answered; an error as the function reports it.
    pub(crate) outcome: Result<Value, Value>,
}

/// The server, while it runs.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) address: SocketAddr,
    events: mpsc::UnboundedSender<(String, Value)>,
    pub(crate) polls: mpsc::UnboundedReceiver<Instant>,
    pub(crate) answers: mpsc::UnboundedReceiver<Answer>,
    invocations: u64,
    task: JoinHandle<()>,
}

struct Shared {
    events: Queue<mpsc::UnboundedReceiver<(String, Value)>>,
    polls: mpsc::UnboundedSender<Instant>,
    answers: mpsc::UnboundedSender<Answer>,
    handed: Mutex<HashMap<String, Instant>>,
    timeout: Duration,
}

impl Runtime {
    /// Starts it, for a function that has `timeout` for an invocation.
    pub(crate) async fn start(timeout: Duration) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.context("no port is free for a Runtime API")?;
        let address = listener.local_addr()?;
        let (events, events_out) = mpsc::unbounded_channel();
        let (polls_in, polls) = mpsc::unbounded_channel();
        let (answers_in, answers) = mpsc::unbounded_channel();
        let shared = Shared {
            events: Queue::new(events_out),
            polls: polls_in,
            answers: answers_in,
            handed: Mutex::default(),
            timeout,
        };
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(answered),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .route("/2018-06-01/runtime/init/error", post(not_started))
            .with_state(Arc::new(shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.ok();
        });
        Ok(Self {
            address,
            events,
            polls,
            answers,
            invocations: 0,
            task,
        })
    }

    /// Has the event handed out at the next poll.
    pub(crate) fn invoke(&mut self, event: Value) -> Result<()> {
        self.invocations += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", self.invocations);
        let sent = self.events.send((id, event));
        sent.context("the Runtime API has ended")
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.polls.send(Instant::now()).ok();
    let Some((id, event)) = shared.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = SystemClock.now() + shared.timeout;
    let mut response = Response::new(Body::from(event.to_string()));
    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        (
            "lambda-runtime-deadline-ms",
            deadline.as_millis().to_string(),
        ),
        ("lambda-runtime-invoked-function-arn", ARN.to_owned()),
        (
            "lambda-runtime-trace-id",
            "Root=1-0;Parent=0;Sampled=0".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    let mut handed = shared.handed.lock().unwrap_or_else(PoisonError::into_inner);
    handed.insert(id, Instant::now());
    drop(handed);
    response
}

async fn answered(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let value = serde_json::from_slice(&body);
    let unread = |error: serde_json::Error| json!({ "errorMessage": error.to_string() });
    shared.note(&id, value.map_err(unread))
}

async fn failed(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let error = serde_json::from_slice(&body).unwrap_or_default();
    shared.note(&id, Err(error))
}

async fn not_started(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let error = serde_json::from_slice(&body).unwrap_or_default();
    shared.note("", Err(error))
}

impl Shared {
    fn note(&self, id: &str, outcome: Result<Value, Value>) -> Response {
        let answered = Instant::now();
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let handed = handed.remove(id).unwrap_or(answered);
        let answer = Answer {
            handed,
            answered,
            outcome,
        };
        self.answers.send(answer).ok();
        let status = json!({ "status": "OK" }).to_string();
        (StatusCode::ACCEPTED, status).into_response()
    }
}
