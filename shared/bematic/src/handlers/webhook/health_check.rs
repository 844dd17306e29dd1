//! The health check, `GET /health`: whether the system can work. The answer contains no names.

use std::{sync::Arc, time::Duration};

use bematic_protocol::time::Timestamp;
use chrono::{DateTime, SecondsFormat};
use futures::future::try_join_all;
use serde::Serialize;
use strum::IntoEnumIterator as _;
use tokio::{sync::Mutex, time::timeout};
use tracing::warn;

use super::http::Response;
use crate::{
    dead_letter::QueueName,
    error::{BematicError, chain},
    ports::Ports,
};

/// The time for which an answer is cached, so that it is cheap however often it is polled.
const CACHED_FOR: Duration = Duration::from_secs(10);
/// The time after which a component without an answer counts as unavailable.
const TIMEOUT: Duration = Duration::from_secs(2);

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

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Health {
    status: Status,
    timestamp: String,
    components: Components,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Components {
    /// Whether the table can be read.
    database: Status,
    /// Whether the queues can be reached; degraded while there are dead letters.
    queues: Status,
    agents: AgentCounts,
    /// Whether changes are shown: degraded while the notifier has dead letters, unknown while that
    /// cannot be read. Slack itself is not asked, since that would count against its limits.
    slack: Status,
}

/// The numbers of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct AgentCounts {
    connected: usize,
    /// The number of agents whose breaker has opened and not closed again.
    unhealthy: usize,
}

/// Checks the components.
pub(super) struct HealthCheck {
    ports: Arc<Ports>,
    last: Mutex<Option<(Timestamp, Health)>>,
}

impl HealthCheck {
    pub(super) fn new(ports: Arc<Ports>) -> Self {
        Self {
            ports,
            last: Mutex::default(),
        }
    }

    /// Answers with 200, or with 503 if the system cannot work. One call for each queue and those
    /// of the list of agents, at most every ten seconds in this environment.
    pub(super) async fn answer(&self, now: Timestamp) -> Response {
        let mut last = self.last.lock().await;
        let health = match &*last {
            Some((at, health)) if now.since(*at) < CACHED_FOR => health.clone(),
            _ => {
                let health = self.check(now).await;
                *last = Some((now, health.clone()));
                health
            }
        };
        let status = match health.status {
            Status::Healthy | Status::Degraded => 200,
            Status::Unknown | Status::Unhealthy => 503,
        };
        Response {
            status,
            body: serde_json::to_value(&health).ok(),
        }
    }

    async fn check(&self, now: Timestamp) -> Health {
        let (agents, dead) = futures::join!(self.count_agents(), self.count_dead_letters());
        let (database, agents) = match agents {
            Some(agents) => (Status::Healthy, agents),
            None => (Status::Unhealthy, AgentCounts::default()),
        };
        let degraded_if = |is_so| {
            if is_so {
                Status::Degraded
            } else {
                Status::Healthy
            }
        };
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
        let status = [database, queues, slack, degraded_if(agents.unhealthy > 0)];
        Health {
            status: status.into_iter().max().unwrap_or(Status::Healthy),
            timestamp: iso(now),
            components: Components {
                database,
                queues,
                agents,
                slack,
            },
        }
    }

    async fn count_agents(&self) -> Option<AgentCounts> {
        let agents = within("DynamoDB", async { Ok(self.ports.agents.list().await?) }).await?;
        Some(AgentCounts {
            connected: agents
                .iter()
                .filter(|agent| agent.connection.is_some())
                .count(),
            unhealthy: agents
                .iter()
                .filter(|agent| agent.gate.is_tripped())
                .count(),
        })
    }

    async fn count_dead_letters(&self) -> Option<Vec<(QueueName, usize)>> {
        let counts = QueueName::iter()
            .map(async |name| Ok((name, self.ports.dead_letters.count(name).await?)));
        within("SQS", try_join_all(counts)).await
    }
}

/// Returns the result of a call to a component, if it arrives in time.
async fn within<T>(
    component: &'static str,
    call: impl Future<Output = Result<T, BematicError>>,
) -> Option<T> {
    match timeout(TIMEOUT, call).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            warn!(
                component,
                code = error.code(),
                error = chain(&error),
                "not healthy"
            );
            None
        }
        Err(_) => {
            warn!(component, "not healthy: no answer in time");
            None
        }
    }
}

/// Formats a time, such as `2023-11-14T22:13:20.000Z`.
fn iso(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis)
        .map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}
