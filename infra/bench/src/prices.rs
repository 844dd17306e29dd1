//! What AWS charges: `prices.json`, with its date, and what invocations cost by it.
//!
//! An invocation takes as long as its processor time here, and `assumedMillis` for each call. Not
//! counted, since no task causes them, are the minutes that a connection lasts, empty receipts, the
//! reading of secrets and what is stored; and not the log lines, which are shown apart.

use std::{collections::BTreeMap, fmt, ops::AddAssign, time::Duration};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::common::{HEARTBEAT_FUNCTION, MESSAGE_FUNCTION, WEBHOOK_FUNCTION, millis};
use crate::invocation::{Call, Invocation, Service};

/// The price table, in US dollars.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prices {
    pub(crate) date: String,
    pub(crate) region: String,
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
    /// Milliseconds that a call takes on AWS.
    assumed_millis: BTreeMap<Service, f64>,
}

/// A cost in US dollars, by service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cost {
    pub(crate) lambda: f64,
    pub(crate) dynamo_db: f64,
    pub(crate) sqs: f64,
    pub(crate) api_gateway: f64,
}

impl Cost {
    pub(crate) fn total(self) -> f64 {
        self.lambda + self.dynamo_db + self.sqs + self.api_gateway
    }

    pub(crate) fn times(self, times: f64) -> Self {
        Self {
            lambda: self.lambda * times,
            dynamo_db: self.dynamo_db * times,
            sqs: self.sqs * times,
            api_gateway: self.api_gateway * times,
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lambda, dynamo_db, sqs, gateway) =
            (self.lambda, self.dynamo_db, self.sqs, self.api_gateway);
        write!(
            f,
            "Lambda {lambda:.4} + DynamoDB {dynamo_db:.4} + SQS {sqs:.4} + API Gateway {gateway:.4}"
        )
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
const FRAME_BYTES: usize = 32 * 1024;
/// Bytes of a queue's message that are charged as one.
const SQS_CHARGE_BYTES: usize = 64 * 1024;

impl Prices {
    pub(crate) fn load() -> Result<Self> {
        serde_json::from_str(include_str!("../prices.json"))
            .context("infra/bench/prices.json is not a price table")
    }

    pub(crate) fn invocations_cost<'a>(
        &self,
        invocations: impl IntoIterator<Item = &'a Invocation>,
    ) -> Cost {
        let mut cost = Cost::default();
        for it in invocations {
            let waits = it
                .calls
                .iter()
                .map(|call| self.assumed_latency(call.service));
            let billed = it.warm + waits.sum::<Duration>();
            cost.lambda += self.lambda_cost(it.memory, billed);
            cost += self.event_delivery_cost(&it.function, it.bytes, it.fifo_source);
            it.calls
                .iter()
                .for_each(|call| cost += self.call_cost(call));
        }
        cost
    }

    pub(crate) fn call_cost(&self, call: &Call) -> Cost {
        let mut cost = Cost::default();
        match call.service {
            Service::DynamoDb => {
                cost.dynamo_db = (call.units.read * self.dynamo_db_per_million_read_units
                    + call.units.write * self.dynamo_db_per_million_write_units)
                    / MILLION;
            }
            Service::Sqs => {
                let price = match (call.fifo, call.fair) {
                    (true, _) => self.sqs_per_million_fifo,
                    (false, true) => self.sqs_per_million_fair,
                    (false, false) => self.sqs_per_million_standard,
                };
                cost.sqs = call.bytes.div_ceil(SQS_CHARGE_BYTES).max(1) as f64 * price / MILLION;
            }
            Service::ApiGateway => cost.api_gateway = self.frames_cost(call.bytes),
            Service::SecretsManager | Service::Sts | Service::Slack => {}
        }
        cost
    }

    /// How long a call takes on AWS, as the price table assumes.
    pub(crate) fn assumed_latency(&self, service: Service) -> Duration {
        Duration::from_secs_f64(self.assumed_millis[&service] / 1000.0)
    }

    pub(crate) fn connection_cost(&self, minutes: f64) -> f64 {
        minutes * self.web_socket_per_million_connection_minutes / MILLION
    }

    /// What log lines of so many bytes cost.
    pub(crate) fn logs_cost(&self, bytes: u64) -> f64 {
        bytes as f64 / 1e9 * self.logs_per_gb
    }

    /// What an invocation costs in Lambda: a request, and MB of memory in whole milliseconds.
    pub(crate) fn lambda_cost(&self, memory: u64, billed: Duration) -> f64 {
        let gb = memory as f64 / 1024.0;
        self.lambda_per_million_requests / MILLION
            + millis(billed).ceil() / 1000.0 * gb * self.lambda_per_gb_second
    }

    /// What an event costs before it invokes a function: a message or a request to API Gateway, or the
    /// receipt and the deletion of messages of a queue, which may be a FIFO queue.
    pub(crate) fn event_delivery_cost(
        &self,
        function: &str,
        bytes: usize,
        fifo_source: Option<bool>,
    ) -> Cost {
        let api_gateway = match function {
            MESSAGE_FUNCTION | HEARTBEAT_FUNCTION => self.frames_cost(bytes),
            WEBHOOK_FUNCTION => self.http_api_per_million_requests / MILLION,
            _ => 0.0,
        };
        let request = match fifo_source {
            Some(true) => self.sqs_per_million_fifo / MILLION,
            Some(false) => self.sqs_per_million_standard / MILLION,
            None => 0.0,
        };
        Cost {
            api_gateway,
            sqs: 2.0 * request,
            ..Cost::default()
        }
    }

    /// What a WebSocket message of so many bytes costs.
    fn frames_cost(&self, bytes: usize) -> f64 {
        bytes.div_ceil(FRAME_BYTES).max(1) as f64 * self.web_socket_per_million_messages / MILLION
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::invocation::InvocationKind;
    use crate::invocation::tests::{call, invocation};

    fn micros(dollars: f64) -> f64 {
        (dollars * 1e9).round() / 1e3
    }

    fn near(a: f64, b: f64) {
        assert!((micros(a) - micros(b)).abs() < 0.002, "{a} is not {b}");
    }

    #[test]
    fn a_message_costs_a_frame_a_request_and_its_memory_while_it_waits_for_its_calls() {
        let prices = Prices::load().unwrap();
        let mut put = call(Service::DynamoDb, "PutItem");
        put.units.write = 2.0;
        let mut message = invocation(
            "ws-message",
            InvocationKind::new("TASK_STREAM", None),
            vec![put],
        );
        message.warm = Duration::from_micros(300);
        let cost = prices.invocations_cost([&message]);
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
        let prices = Prices::load().unwrap();
        let mut message = invocation(
            "ws-message",
            InvocationKind::new("TASK_STREAM", None),
            Vec::new(),
        );
        message.bytes = 32 * 1024 + 1;
        near(prices.invocations_cost([&message]).api_gateway, 2e-6);
        let mut post = call(Service::ApiGateway, "PostToConnection");
        post.bytes = 100;
        let sent = invocation("dispatcher", InvocationKind::new("drain", None), vec![post]);
        near(prices.invocations_cost([&sent]).api_gateway, 1e-6);
    }

    #[test]
    fn queues_cost_by_their_kind_and_for_each_receipt() {
        let prices = Prices::load().unwrap();
        let send = |fifo, fair| {
            let mut send = call(Service::Sqs, "SendMessage");
            (send.fifo, send.fair) = (fifo, fair);
            prices
                .invocations_cost([&invocation(
                    "ws-message",
                    InvocationKind::new("x", None),
                    vec![send],
                )])
                .sqs
        };
        near(send(true, false), 0.5e-6);
        near(send(false, true), 0.5e-6);
        near(send(false, false), 0.4e-6);
        let mut received = invocation("notifier", InvocationKind::new("refresh", None), Vec::new());
        received.fifo_source = Some(true);
        near(prices.invocations_cost([&received]).sqs, 1e-6);
    }

    #[test]
    fn the_table_says_when_and_where() {
        let prices = Prices::load().unwrap();
        assert!(prices.date.len() == 10 && prices.region.contains("us-east-1"));
        let table: serde_json::Value =
            serde_json::from_str(include_str!("../prices.json")).unwrap();
        let mut sources = table["sources"].as_array().unwrap().iter();
        assert!(sources.all(|it| it.as_str().unwrap().starts_with("https://")));
    }
}
