//! The events that AWS invokes functions with, as it writes them.

use bematic_protocol::time::Timestamp;
use fake_aws::{QueueSpec, ReceivedMessage};
use local_slack::SlashCommand;
use serde_json::{Value, json};

use crate::aws::{SIGNING_SECRET, SLACK_USER_ID};

#[derive(Debug, Clone)]
pub(crate) struct Socket {
    pub(crate) connection: String,
    /// The context that the authorizer has answered; empty before.
    pub(crate) authorizer: Value,
    pub(crate) connected_at: Timestamp,
}

impl Socket {
    /// The event of the authorizer: with an agent's id and key in the headers, or without.
    pub(crate) fn authorizer_event(&self, key: Option<(&str, &str)>) -> Value {
        let mut event = self.event("$connect", None, self.connected_at);
        event["type"] = "REQUEST".into();
        event["methodArn"] =
            "arn:aws:execute-api:us-east-1:000000000000:w0bench/prod/$connect".into();
        event["headers"] = json!({
            "Host": "w0bench.execute-api.us-east-1.amazonaws.com",
            "Sec-WebSocket-Extensions": "permessage-deflate", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "X-Forwarded-For": "192.0.2.1",
            "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https",
        });
        if let Some((agent, key)) = key {
            event["headers"]["Authorization"] = format!("Bearer {key}").into();
            event["headers"]["X-Agent-Id"] = agent.into();
        }
        event
    }

    /// The event of `$connect`, `$disconnect`, or a message (`$default`).
    pub(crate) fn event(&self, route: &str, body: Option<&str>, now: Timestamp) -> Value {
        let kind = match route {
            "$connect" => "CONNECT",
            "$disconnect" => "DISCONNECT",
            _ => "MESSAGE",
        };
        let mut authorizer = self.authorizer.clone();
        let principal = authorizer["agentId"].as_str().unwrap_or("unauthenticated");
        authorizer["principalId"] = principal.into();
        authorizer["integrationLatency"] = 23.into();
        let mut event = json!({
            "requestContext": {
                "routeKey": route, "eventType": kind, "messageDirection": "IN",
                "connectionId": self.connection, "connectedAt": self.connected_at.as_millis(),
                "requestId": "bench=", "extendedRequestId": "bench=",
                "requestTime": "25/Nov/2026:07:00:00 +0000", "requestTimeEpoch": now.as_millis(),
                "identity": { "sourceIp": "192.0.2.1" }, "authorizer": authorizer,
                "domainName": "w0bench.execute-api.us-east-1.amazonaws.com",
                "apiId": "w0bench", "stage": "prod",
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
}

pub(crate) fn queue_event(queue: &QueueSpec, received: &[ReceivedMessage]) -> Value {
    let records = received.iter().map(|it| {
        json!({
            "messageId": it.message.id, "receiptHandle": it.receipt_handle,
            "body": it.message.body, "md5OfBody": "0".repeat(32),
            "attributes": it.system_attributes(), "messageAttributes": {},
            "eventSource": "aws:sqs", "awsRegion": "us-east-1",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{}", queue.id),
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// Whether the queue that an event's messages are of is a FIFO queue; none for another event.
pub(crate) fn is_fifo_source(event: &Value) -> Option<bool> {
    let attributes = event.pointer("/Records/0/attributes")?;
    Some(attributes["MessageDeduplicationId"].is_string())
}

pub(crate) fn slash_command_event(
    channel: &str,
    trigger: &str,
    text: &str,
    now: Timestamp,
) -> Value {
    let command = SlashCommand::new(channel, SLACK_USER_ID, text, trigger);
    let request = command.signed_request(SIGNING_SECRET, now.as_secs());
    let route = format!("POST {}", request.path);
    let mut event = json!({
        "version": "2.0", "routeKey": route, "rawPath": request.path, "rawQueryString": "",
        "headers": request.headers,
        "requestContext": {
            "accountId": "000000000000", "apiId": "h0bench", "domainPrefix": "h0bench",
            "domainName": "h0bench.execute-api.us-east-1.amazonaws.com",
            "http": {
                "method": "POST", "path": request.path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.2", "userAgent": "Slackbot 1.0",
            },
            "requestId": "bench=", "routeKey": route, "stage": "$default",
            "time": "25/Nov/2026:07:00:00 +0000", "timeEpoch": now.as_millis(),
        },
        "body": request.body, "isBase64Encoded": false,
    });
    event["headers"]["host"] = "h0bench.execute-api.us-east-1.amazonaws.com".into();
    event["headers"]["user-agent"] = "Slackbot 1.0 (+https://api.slack.com/robots)".into();
    event
}

pub(crate) fn schedule_event() -> Value {
    json!({
        "version": "0", "id": "bench", "detail-type": "Scheduled Event", "source": "aws.scheduler",
        "account": "000000000000", "time": "2026-11-25T07:00:00Z", "region": "us-east-1",
        "resources": [], "detail": "{}",
    })
}
