//! What AWS charges: `prices.json`, with its date, and what a list of invocations costs by it.
//!
//! Counted are the requests to Lambda and its memory for as long as an invocation takes (what it
//! took here without the network, and for each call as many milliseconds as `assumedMillis` says),
//! the tables' units, every request to a queue (with the receipt and the deletion of each message
//! that invoked a function), every message over a WebSocket in 32 KB, and the requests to the HTTP
//! API. Not counted, since no task causes them, are heartbeats, the minutes that a connection lasts,
//! empty receipts, the sweeper and what is stored; and not the log lines, which are told apart.

use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context, Result};
use fake_aws::Units;
use serde::{Deserialize, Serialize};

use crate::log::{Call, Invocation, Service};
use crate::stats::millis;

/// The price table.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prices {
    /// When these were the prices.
    pub date: String,
    /// Where.
    pub region: String,
    /// Where it was read.
    pub sources: Vec<String>,
    lambda_per_million_requests: f64,
    lambda_per_gb_second: f64,
    dynamo_db_per_million_read_units: f64,
    dynamo_db_per_million_write_units: f64,
    sqs_per_million_standard: f64,
    sqs_per_million_fair: f64,
    sqs_per_million_fifo: f64,
    web_socket_per_million_messages: f64,
    web_socket_per_million_connection_minutes: f64,
    http_api_per_million_requests: f64,
    logs_per_gb: f64,
    assumed_millis: Millis,
}

/// Milliseconds that a call takes on AWS, by service.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Millis {
    #[serde(rename = "DynamoDB")]
    dynamo_db: f64,
    #[serde(rename = "SQS")]
    sqs: f64,
    api_gateway: f64,
    slack: f64,
}

/// US dollars by service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Requests and memory.
    pub lambda: f64,
    /// Read and write units.
    pub dynamo_db: f64,
    /// Requests.
    pub sqs: f64,
    /// Messages and requests.
    pub api_gateway: f64,
}

impl Cost {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.lambda + self.dynamo_db + self.sqs + self.api_gateway
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, times: f64) -> Self {
        Self {
            lambda: self.lambda * times,
            dynamo_db: self.dynamo_db * times,
            sqs: self.sqs * times,
            api_gateway: self.api_gateway * times,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.lambda += other.lambda;
        self.dynamo_db += other.dynamo_db;
        self.sqs += other.sqs;
        self.api_gateway += other.api_gateway;
    }
}

const MILLION: f64 = 1e6;
/// Bytes of a WebSocket message that are charged as one.
const FRAME: usize = 32 * 1024;
/// Bytes of a message of a queue that are charged as one.
const CHUNK: usize = 64 * 1024;

impl Prices {
    /// The checkout's.
    pub fn read() -> Result<Self> {
        serde_json::from_str(include_str!("../prices.json"))
            .context("infra/bench/prices.json is not a price table")
    }

    /// What the invocations cost.
    pub fn cost<'a>(&self, invocations: impl IntoIterator<Item = &'a Invocation>) -> Cost {
        let mut cost = Cost::default();
        for invocation in invocations {
            cost.lambda += self.lambda(invocation);
            cost.api_gateway += self.caused(invocation);
            cost.sqs += invocation.source.map_or(0.0, |fifo| self.received(fifo));
            for call in &invocation.calls {
                cost += self.call(call);
            }
        }
        cost
    }

    /// What a call costs whom it is made to.
    pub fn call(&self, call: &Call) -> Cost {
        let mut cost = Cost {
            dynamo_db: self.units(call.units),
            ..Cost::default()
        };
        match call.service {
            Service::Sqs => cost.sqs = self.queue(call),
            Service::ApiGateway => cost.api_gateway = self.frames(call.bytes),
            Service::DynamoDb | Service::Slack => {}
        }
        cost
    }

    /// How long a call takes on AWS.
    pub fn latency(&self, service: Service) -> Duration {
        Duration::from_secs_f64(self.wait(service) / 1000.0)
    }

    /// What minutes of connections cost.
    pub const fn connected(&self, minutes: f64) -> f64 {
        minutes * self.web_socket_per_million_connection_minutes / MILLION
    }

    /// What so many bytes of log lines cost.
    #[expect(clippy::cast_precision_loss, reason = "a few KB")]
    pub fn logs(&self, bytes: u64) -> f64 {
        bytes as f64 / 1e9 * self.logs_per_gb
    }

    fn units(&self, units: Units) -> f64 {
        (units.read * self.dynamo_db_per_million_read_units
            + units.write * self.dynamo_db_per_million_write_units)
            / MILLION
    }

    fn lambda(&self, invocation: &Invocation) -> f64 {
        let waits = invocation.calls.iter().map(|call| self.wait(call.service));
        let billed = millis(invocation.warm) + waits.sum::<f64>();
        self.invocation(invocation.memory, billed)
    }

    /// A request, and so many MB of memory in whole milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "memory is a few GB at most")]
    pub fn invocation(&self, memory: u64, millis: f64) -> f64 {
        let gb = memory as f64 / 1024.0;
        self.lambda_per_million_requests / MILLION
            + millis.ceil() / 1000.0 * gb * self.lambda_per_gb_second
    }

    const fn wait(&self, service: Service) -> f64 {
        match service {
            Service::DynamoDb => self.assumed_millis.dynamo_db,
            Service::Sqs => self.assumed_millis.sqs,
            Service::ApiGateway => self.assumed_millis.api_gateway,
            Service::Slack => self.assumed_millis.slack,
        }
    }

    /// What brought the event.
    fn caused(&self, invocation: &Invocation) -> f64 {
        match invocation.function.as_str() {
            "ws-message" => self.frames(invocation.bytes),
            "slack-webhook" => self.request(),
            _ => 0.0,
        }
    }

    /// A request to the HTTP API.
    pub const fn request(&self) -> f64 {
        self.http_api_per_million_requests / MILLION
    }

    /// The receipt and the deletion of messages that invoke a function, from a queue that is first
    /// in first out or not.
    pub const fn received(&self, fifo: bool) -> f64 {
        let price = if fifo {
            self.sqs_per_million_fifo
        } else {
            self.sqs_per_million_standard
        };
        2.0 * price / MILLION
    }

    #[expect(clippy::cast_precision_loss, reason = "a message has 256 KB at most")]
    fn queue(&self, call: &Call) -> f64 {
        let price = match (call.fifo, call.fair) {
            (true, _) => self.sqs_per_million_fifo,
            (false, true) => self.sqs_per_million_fair,
            (false, false) => self.sqs_per_million_standard,
        };
        call.bytes.div_ceil(CHUNK).max(1) as f64 * price / MILLION
    }

    /// A message over a WebSocket, either way.
    #[expect(clippy::cast_precision_loss, reason = "a message has 128 KB at most")]
    pub fn frames(&self, bytes: usize) -> f64 {
        bytes.div_ceil(FRAME).max(1) as f64 * self.web_socket_per_million_messages / MILLION
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::Kind;
    use crate::log::tests::{call, invocation};

    fn micros(dollars: f64) -> f64 {
        (dollars * 1e9).round() / 1e3
    }

    fn near(a: f64, b: f64) {
        assert!((micros(a) - micros(b)).abs() < 0.002, "{a} is not {b}");
    }

    #[test]
    fn a_message_costs_a_frame_a_request_and_its_memory_while_it_waits_for_its_calls() {
        let prices = Prices::read().unwrap();
        let mut put = call(Service::DynamoDb, "PutItem");
        put.units.write = 2.0;
        let mut message = invocation("ws-message", Kind::of("TASK_STREAM"), vec![put]);
        message.warm = Duration::from_micros(300);
        let cost = prices.cost([&message]);
        near(cost.dynamo_db, 2.0 * 0.625e-6);
        near(cost.api_gateway, 1e-6);
        // 0.3 ms of its own and 5 ms for the call are 6 ms of a quarter of a GB.
        near(cost.lambda, 0.2e-6 + 0.006 * 0.25 * 0.000_013_333_4);
        near(
            cost.total(),
            cost.dynamo_db + cost.api_gateway + cost.lambda,
        );
        near(cost.times(1000.0).total(), cost.total() * 1000.0);
    }

    #[test]
    fn a_large_message_costs_several_frames() {
        let prices = Prices::read().unwrap();
        let mut message = invocation("ws-message", Kind::of("TASK_STREAM"), Vec::new());
        message.bytes = 32 * 1024 + 1;
        near(prices.cost([&message]).api_gateway, 2e-6);
        let mut post = call(Service::ApiGateway, "PostToConnection");
        post.bytes = 100;
        let sent = invocation("dispatcher", Kind::of("drain"), vec![post]);
        near(prices.cost([&sent]).api_gateway, 1e-6);
    }

    #[test]
    fn queues_cost_by_their_kind_and_for_each_receipt() {
        let prices = Prices::read().unwrap();
        let send = |fifo, fair| {
            let mut send = call(Service::Sqs, "SendMessage");
            (send.fifo, send.fair) = (fifo, fair);
            prices
                .cost([&invocation("ws-message", Kind::of("x"), vec![send])])
                .sqs
        };
        near(send(true, false), 0.5e-6);
        near(send(false, true), 0.5e-6);
        near(send(false, false), 0.4e-6);
        let mut received = invocation("notifier", Kind::of("refresh"), Vec::new());
        received.source = Some(true);
        near(prices.cost([&received]).sqs, 1e-6);
    }

    #[test]
    fn the_table_says_when_and_where() {
        let prices = Prices::read().unwrap();
        assert!(prices.date.len() == 10 && prices.region.contains("us-east-1"));
        assert!(prices.sources.iter().all(|it| it.starts_with("https://")));
    }
}
