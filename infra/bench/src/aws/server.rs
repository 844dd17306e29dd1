//! The HTTP side.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header::CONTENT_TYPE};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Call, Posted, Service, State, lock};
use crate::dynamo::units::Units;

/// Where connections are managed.
pub(super) const MANAGEMENT: &str = "/websocket";
/// Where Slack's Web API is.
pub(super) const SLACK: &str = "/slack/api";
/// Bytes of a request at most.
const LARGEST: usize = 16 * 1024 * 1024;

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

/// What is answered, and what is to be kept of the call.
struct Reply {
    status: u16,
    body: Value,
    service: Service,
    operation: String,
    units: Units,
    touched: Vec<String>,
    fifo: bool,
    fair: bool,
    fault: Option<String>,
}

impl Reply {
    fn new(service: Service, operation: &str, body: Value) -> Self {
        Self {
            status: 200,
            body,
            service,
            operation: operation.to_owned(),
            units: Units::default(),
            touched: Vec::new(),
            fifo: false,
            fair: false,
            fault: None,
        }
    }

    fn fault(self, fault: String) -> Self {
        Self {
            status: 400,
            body: json!({ "__type": "ValidationException", "message": fault }),
            fault: Some(fault),
            ..self
        }
    }
}

async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let mut state = lock(&state);
    let reply = reply(&mut state, &parts, &body, began);
    let text = if reply.body.is_null() {
        String::new()
    } else {
        reply.body.to_string()
    };
    state.faults.extend(reply.fault);
    state.calls.push(Call {
        service: reply.service,
        operation: reply.operation,
        began,
        ended: Instant::now(),
        units: reply.units,
        touched: reply.touched,
        fifo: reply.fifo,
        fair: reply.fair,
        bytes: body.len(),
    });
    response(reply.status, reply.service, text)
}

fn response(status: u16, service: Service, text: String) -> Response {
    let kind = match service {
        Service::DynamoDb | Service::Sqs => "application/x-amz-json-1.0",
        Service::ApiGateway | Service::Slack => "application/json",
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

fn reply(state: &mut State, parts: &Parts, body: &Bytes, now: Instant) -> Reply {
    let path = parts.uri.path();
    if let Some(method) = path.strip_prefix(SLACK) {
        return slack(state, method.trim_start_matches('/'));
    }
    if let Some(rest) = path.strip_prefix(MANAGEMENT) {
        return gateway(state, &parts.method, rest, body);
    }
    let target = parts.headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let (service, operation) = target
        .and_then(|target| target.split_once('.'))
        .unwrap_or_default();
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    match service {
        "DynamoDB_20120810" => {
            let done = state.dynamo.call(operation, &request);
            Reply {
                status: done.status,
                units: done.units,
                touched: done.touched,
                fault: done.fault,
                ..Reply::new(Service::DynamoDb, operation, done.body)
            }
        }
        "AmazonSQS" => {
            let fifo = state.queues.is_fifo(&request);
            let reply = Reply {
                fifo,
                fair: !fifo && has_group(&request),
                ..Reply::new(Service::Sqs, operation, Value::Null)
            };
            match state.queues.call(operation, &request, now) {
                Ok(body) => Reply { body, ..reply },
                Err(fault) => reply.fault(fault),
            }
        }
        _ => {
            let fault = format!("{} {path}: {target:?}", parts.method);
            Reply::new(Service::DynamoDb, "?", Value::Null).fault(fault)
        }
    }
}

/// Whether a message, or one of several, has a group.
fn has_group(request: &Value) -> bool {
    let entries = request["Entries"].as_array().into_iter().flatten();
    let mut messages = entries.chain([request]);
    messages.any(|message| message["MessageGroupId"].is_string())
}

fn slack(state: &mut State, method: &str) -> Reply {
    state.shown += 1;
    let ts = format!("1700000000.{:06}", state.shown);
    let body = json!({ "ok": true, "ts": ts, "channel": "C0BENCH", "messages": [] });
    Reply::new(Service::Slack, method, body)
}

fn gateway(state: &mut State, method: &Method, rest: &str, body: &Bytes) -> Reply {
    // An id is letters, digits, `-`, `_` and `=`, of which the last alone is written otherwise.
    let connection = rest.rsplit('/').next().unwrap_or_default();
    let connection = connection.replace("%3D", "=");
    let operation = match *method {
        Method::POST => "PostToConnection",
        Method::DELETE => "DeleteConnection",
        _ => "GetConnection",
    };
    if *method == Method::POST {
        state.posted.push(Posted {
            connection,
            message: serde_json::from_slice(body).unwrap_or_default(),
        });
    }
    Reply::new(Service::ApiGateway, operation, Value::Null)
}
