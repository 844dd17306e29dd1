//! The HTTP side.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::answer::{Answered, Asked};
use super::{State, lock};

/// Bytes of a request at most.
const LARGEST: usize = 16 * 1024 * 1024;

/// What the floor exchanges bytes with: no call, and not counted.
const EXCHANGE: &str = "/exchange";

#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(state: Arc<Mutex<State>>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.context("no port is free for the bench's AWS")?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(answer).with_state(state);
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.ok();
        });
        Ok(Self { address, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let began = Instant::now();
    if request.uri().path() == EXCHANGE {
        to_bytes(request.into_body(), LARGEST).await.ok();
        return Response::new(Body::from("{}"));
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let target = parts.headers.get("x-amz-target");
    let asked = Asked {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        target: target.and_then(|target| target.to_str().ok()),
        body: &body,
    };
    let mut state = lock(&state);
    let (answered, call) = state.answer(&asked, began);
    state.calls.push(call);
    response(answered)
}

fn response(answered: Answered) -> Response {
    let mut response = Response::new(Body::from(answered.text));
    *response.status_mut() = StatusCode::from_u16(answered.status).unwrap_or_default();
    if let Ok(kind) = answered.content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
