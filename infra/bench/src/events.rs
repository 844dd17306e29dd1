//! The events that AWS invokes functions with, as it writes them.

use bematic_protocol::time::Timestamp;
use fake_aws::{QueueSpec, ReceivedMessage};
use local_slack::{SignedRequest, SlashCommand};
use serde_json::{Value, json};

/// What every request of Slack's is signed with.
pub(crate) const SECRET: &str = "bench-signing-secret";
/// The person who types.
pub(crate) const USER: &str = "U0BENCH";

/// The account and the API of the events.
const API: &str = "arn:aws:execute-api:us-east-1:000000000000:w0bench/prod";

/// A connection as API Gateway speaks of it.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    /// Its id.
    pub(crate) connection: String,
    /// What the authorizer said about it: its context.
    pub(crate) authorizer: Value,
    /// When it was made.
    pub(crate) connected_at: Timestamp,
}

impl Socket {
    /// A connection that the authorizer was not asked about yet.
    pub(crate) fn new(connection: &str, now: Timestamp) -> Self {
        Self {
            connection: connection.to_owned(),
            authorizer: json!({}),
            connected_at: now,
        }
    }
}

/// What the authorizer is asked: with the agent's key in the headers, or without.
pub(crate) fn handshake(socket: &Socket, key: Option<(&str, &str)>, now: Timestamp) -> Value {
    let mut headers = json!({
        "Host": "w0bench.execute-api.us-east-1.amazonaws.com",
        "Sec-WebSocket-Extensions": "permessage-deflate",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    });
    if let Some((agent, key)) = key {
        headers["Authorization"] = format!("Bearer {key}").into();
        headers["X-Agent-Id"] = agent.into();
    }
    let mut event = socket_event(socket, "$connect", None, now);
    event["type"] = "REQUEST".into();
    event["methodArn"] = format!("{API}/$connect").into();
    event["headers"] = headers;
    event
}

/// `$connect`, `$disconnect`, or a message.
pub(crate) fn socket_event(
    socket: &Socket,
    route: &str,
    body: Option<&str>,
    now: Timestamp,
) -> Value {
    let (direction, kind) = match route {
        "$connect" => ("IN", "CONNECT"),
        "$disconnect" => ("IN", "DISCONNECT"),
        _ => ("IN", "MESSAGE"),
    };
    let mut authorizer = socket.authorizer.clone();
    authorizer["principalId"] = authorizer["agentId"]
        .as_str()
        .unwrap_or("unauthenticated")
        .into();
    authorizer["integrationLatency"] = 23.into();
    let mut event = json!({
        "requestContext": {
            "routeKey": route,
            "authorizer": authorizer,
            "eventType": kind,
            "extendedRequestId": "bench=",
            "requestTime": "25/Nov/2026:07:00:00 +0000",
            "messageDirection": direction,
            "stage": "prod",
            "connectedAt": socket.connected_at.as_millis(),
            "requestTimeEpoch": now.as_millis(),
            "identity": { "sourceIp": "192.0.2.1" },
            "requestId": "bench=",
            "domainName": "w0bench.execute-api.us-east-1.amazonaws.com",
            "connectionId": socket.connection,
            "apiId": "w0bench",
        },
        "isBase64Encoded": false,
    });
    if let Some(body) = body {
        event["requestContext"]["messageId"] = "bench=".into();
        event["body"] = body.into();
    }
    if kind == "DISCONNECT" {
        event["requestContext"]["disconnectStatusCode"] = 1000.into();
        event["requestContext"]["disconnectReason"] = "".into();
    }
    event
}

/// Messages of a queue.
pub(crate) fn queue_event(queue: &QueueSpec, received: &[ReceivedMessage]) -> Value {
    let records = received.iter().map(|it| {
        json!({
            "messageId": it.message.id,
            "receiptHandle": it.receipt_handle,
            "body": it.message.body,
            "attributes": it.system_attributes(),
            "messageAttributes": {},
            "md5OfBody": "0".repeat(32),
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{}", queue.id),
            "awsRegion": "us-east-1",
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// Whether an event is of messages of a queue, and whether that is first in first out.
pub(crate) fn is_of_fifo(event: &Value) -> Option<bool> {
    let attributes = event.pointer("/Records/0/attributes")?;
    Some(attributes["MessageDeduplicationId"].is_string())
}

/// A slash command, signed by Slack.
pub(crate) fn slash_command(channel: &str, trigger: &str, text: &str, now: Timestamp) -> Value {
    let command = SlashCommand::new(channel, USER, text, trigger);
    let SignedRequest {
        path,
        headers: signed,
        body,
    } = command.signed(SECRET, now.as_secs());
    let mut headers = json!({
        "host": "h0bench.execute-api.us-east-1.amazonaws.com",
        "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
    });
    for (name, value) in signed {
        headers[name] = value.into();
    }
    json!({
        "version": "2.0",
        "routeKey": format!("POST {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "h0bench",
            "domainName": "h0bench.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "h0bench",
            "http": {
                "method": "POST", "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.2", "userAgent": "Slackbot 1.0",
            },
            "requestId": "bench=",
            "routeKey": format!("POST {path}"),
            "stage": "$default",
            "time": "25/Nov/2026:07:00:00 +0000",
            "timeEpoch": now.as_millis(),
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// A minute has passed.
pub(crate) fn schedule() -> Value {
    json!({
        "version": "0", "id": "bench", "detail-type": "Scheduled Event", "source": "aws.scheduler",
        "account": "000000000000", "time": "2026-11-25T07:00:00Z", "region": "us-east-1",
        "resources": [], "detail": "{}",
    })
}
