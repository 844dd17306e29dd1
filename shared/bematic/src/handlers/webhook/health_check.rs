//! The health check, `GET /health`: whether the system can work. The answer contains no names.

use std::{sync::Arc, time::Duration};

use bematic_protocol::time::Timestamp;
use chrono::{DateTime, SecondsFormat};
use futures::future::try_join_all;
use serde::Serialize;
use serde_json::json;
use strum::IntoEnumIterator as _;
use tokio::{sync::Mutex, time::timeout};
use tracing::warn;

use super::http::Response;
use crate::{
    dead_letter::QueueName,
    error::{Result, chain},
    ports::Ports,
};

/// The time for which an answer is cached, so that it is cheap however often it is polled.
const CACHED_FOR: Duration = Duration::from_secs(10);
/// The time after which a component without an answer counts as unavailable.
const COMPONENT_TIMEOUT: Duration = Duration::from_secs(2);

/// The status of a component; the status of the system is the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// The component that reports the status could not be asked.
    Unknown,
    Healthy,
    /// The component works, but needs attention.
    Degraded,
    Unhealthy,
}

/// Checks the components.
pub(super) struct HealthCheck {
    ports: Arc<Ports>,
    last: Mutex<Option<(Timestamp, Response)>>,
}

impl HealthCheck {
    pub(super) fn new(ports: Arc<Ports>) -> Self {
        let last = Mutex::default();
        Self { ports, last }
    }

    /// Answers with 200, or with 503 if the system cannot work. One call for each queue and those
    /// of the list of agents, at most every ten seconds in this environment.
    pub(super) async fn answer(&self, now: Timestamp) -> Response {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, response)) if now.since(*at) < CACHED_FOR => response.clone(),
            _ => {
                let response = self.check_now(now).await;
                last.insert((now, response)).1.clone()
            }
        }
    }

    /// Checks the components, without the cache.
    async fn check_now(&self, now: Timestamp) -> Response {
        let agents = within_timeout("DynamoDB", async { Ok(self.ports.agents.list().await?) });
        let (agents, dead) = futures::join!(agents, self.count_dead_letters());
        // Whether the table can be read.
        let database = if agents.is_some() {
            Status::Healthy
        } else {
            Status::Unhealthy
        };
        let agents = agents.unwrap_or_default();
        let connected = agents
            .iter()
            .filter(|agent| agent.connection.is_some())
            .count();
        // The number of agents whose breaker has opened and not closed again.
        let unhealthy = agents
            .iter()
            .filter(|agent| agent.gate.is_tripped())
            .count();
        let degraded_if = |is_so| {
            if is_so {
                Status::Degraded
            } else {
                Status::Healthy
            }
        };
        // Whether the queues can be reached; and whether changes are shown, unknown if they cannot.
        // Slack itself is not asked, since that would count against its limits.
        let (queues, slack) = match &dead {
            None => (Status::Unhealthy, Status::Unknown),
            Some(dead) => {
                let is_unshown = |(name, count): &(QueueName, usize)| {
                    *name == QueueName::Notifications && *count > 0
                };
                let any = dead.iter().any(|(_, count)| *count > 0);
                (degraded_if(any), degraded_if(dead.iter().any(is_unshown)))
            }
        };
        let status = database
            .max(queues)
            .max(slack)
            .max(degraded_if(unhealthy > 0));
        let body = json!({
            "status": status,
            "timestamp": format_iso8601(now),
            "components": {
                "database": database,
                "queues": queues,
                "agents": { "connected": connected, "unhealthy": unhealthy },
                "slack": slack,
            },
        });
        Response {
            status: if status == Status::Unhealthy {
                503
            } else {
                200
            },
            body: Some(body),
        }
    }

    /// Counts the dead letters of each queue. `None` if SQS cannot be reached.
    async fn count_dead_letters(&self) -> Option<Vec<(QueueName, usize)>> {
        let counts = QueueName::iter()
            .map(async |name| Ok((name, self.ports.dead_letters.count(name).await?)));
        within_timeout("SQS", try_join_all(counts)).await
    }
}

/// Returns the result of a call to a component, if it arrives in time.
async fn within_timeout<T>(
    component: &'static str,
    call: impl Future<Output = Result<T>>,
) -> Option<T> {
    match timeout(COMPONENT_TIMEOUT, call).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            warn!(component, code = error.code(), error = %chain(&error), "not healthy");
            None
        }
        Err(_) => {
            warn!(component, "not healthy: no answer in time");
            None
        }
    }
}

/// Formats a time, such as `2023-11-14T22:13:20.000Z`.
fn format_iso8601(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis)
        .map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}
