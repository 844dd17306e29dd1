//! What a request is answered, and what is to be kept of it, however it came here.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Call, Posted, Service, State};
use crate::dynamo::Touch;
use crate::dynamo::units::Units;

/// Where connections are managed.
pub(crate) const MANAGEMENT: &str = "/websocket";
/// Where Slack's Web API is.
pub(crate) const SLACK: &str = "/slack/api";

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// `X-Amz-Target`: the service and the operation, where it is said there.
    pub(crate) target: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// The response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) text: String,
}

/// What is answered, and what is to be kept of the call.
struct Reply {
    status: u16,
    body: Value,
    service: Service,
    operation: String,
    units: Units,
    touched: Vec<Touch>,
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

impl State {
    /// Answers a request that was here at `began`.
    pub(crate) fn answer(&mut self, asked: &Asked<'_>, began: Instant) -> (Answered, Call) {
        let reply = reply(self, asked, began);
        let text = if reply.body.is_null() {
            String::new()
        } else {
            reply.body.to_string()
        };
        self.faults.extend(reply.fault);
        let call = Call {
            service: reply.service,
            operation: reply.operation,
            began,
            ended: Instant::now(),
            units: reply.units,
            touched: reply.touched,
            fifo: reply.fifo,
            fair: reply.fair,
            bytes: asked.body.len(),
        };
        let content_type = match reply.service {
            Service::DynamoDb | Service::Sqs => "application/x-amz-json-1.0",
            Service::ApiGateway | Service::Slack => "application/json",
        };
        let answered = Answered {
            status: reply.status,
            content_type,
            text,
        };
        (answered, call)
    }
}

fn reply(state: &mut State, asked: &Asked<'_>, now: Instant) -> Reply {
    let (path, body) = (asked.path, asked.body);
    if let Some(method) = path.strip_prefix(SLACK) {
        return slack(state, method.trim_start_matches('/'));
    }
    if let Some(rest) = path.strip_prefix(MANAGEMENT) {
        return gateway(state, asked.method, rest, body);
    }
    let target = asked.target;
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
            let fault = format!("{} {path}: {target:?}", asked.method);
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

fn gateway(state: &mut State, method: &str, rest: &str, body: &[u8]) -> Reply {
    // An id is letters, digits, `-`, `_` and `=`, of which the last alone is written otherwise.
    let connection = rest.rsplit('/').next().unwrap_or_default();
    let connection = connection.replace("%3D", "=");
    let operation = match method {
        "POST" => "PostToConnection",
        "DELETE" => "DeleteConnection",
        _ => "GetConnection",
    };
    if method == "POST" {
        state.posted.push(Posted {
            connection,
            message: serde_json::from_slice(body).unwrap_or_default(),
        });
    }
    Reply::new(Service::ApiGateway, operation, Value::Null)
}
