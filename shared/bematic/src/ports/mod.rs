//! Small traits for everything that the handlers need from the outside world. Their adapters are in
//! the crate `bematic_aws`; the tests use the same adapters on an AWS in memory. A method is one AWS
//! call, unless its doc names another number.

mod agents;
mod gateway;
mod outcome;
mod people;
mod queues;
mod secrets;
mod tasks;

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{AgentId, ChannelId, IdGenerator},
    messages::{CloudMessage, Heartbeat},
    time::{Clock, Timestamp},
};

use crate::{
    access::{AccessSettings, RequestLimits},
    agent::Binding,
    audit::AuditRetention,
    breaker::BreakerConfig,
    error::{GatewayError, QueueError},
    task::TaskPolicy,
};

pub use self::{
    agents::{
        AUTH_DEADLINE, Agents, ApiKeys, BindOutcome, BreakerChange, Breakers, CONNECTED_SHARDS,
        Connections, DispatchLeases, HeartbeatContent, LeaseAcquisition, LeaseRelease, Presence,
        Projects, UnbindOutcome,
    },
    gateway::{Gateway, SendOutcome},
    outcome::{Created, Page, Written},
    people::{AuditLog, MembershipSource, Memberships, PersonInChannel, Roles},
    queues::{
        BatchMessage, BatchQueue, DeadLetterQueues, DispatchMessage, DispatchQueue, Notifications,
        NotifyMessage, SourceMessage, SourceQueue, TextReply,
    },
    secrets::{SecretSource, SecretVersion},
    tasks::{
        AttachedRecord, BatchWritten, Batches, CardRecord, CardRecords, ClaimConditions,
        ClaimOutcome, Deadlines, MAX_WAITING_COUNTED, ReportedTask, Reports, TaskCreation,
        TaskLists, Tasks, TransitionWritten,
    },
};

/// The collaborators of all handlers: the outside world, the clock, ids and the deployment's
/// settings. Built in one place, `bematic_aws::App`.
pub struct Ports {
    /// The tasks.
    pub tasks: Arc<dyn Tasks>,
    /// Lists of tasks.
    pub lists: Arc<dyn TaskLists>,
    /// The index of tasks by the time at which they have to be checked.
    pub deadlines: Arc<dyn Deadlines>,
    /// The progress reports of tasks.
    pub reports: Arc<dyn Reports>,
    /// The records of cards.
    pub cards: Arc<dyn CardRecords>,
    /// The bulk operations.
    pub batches: Arc<dyn Batches>,
    /// The agents.
    pub agents: Arc<dyn Agents>,
    /// The agents' keys.
    pub api_keys: Arc<dyn ApiKeys>,
    /// The agents' connections.
    pub connections: Arc<dyn Connections>,
    /// The state that agents report about themselves.
    pub presence: Arc<dyn Presence>,
    /// The leases to dispatch an agent's queue.
    pub dispatch_leases: Arc<dyn DispatchLeases>,
    /// The agents' circuit breakers.
    pub breakers: Arc<dyn Breakers>,
    /// The channels' projects.
    pub projects: Arc<dyn Projects>,
    /// The roles of people.
    pub roles: Arc<dyn Roles>,
    /// What Slack said of people's membership.
    pub memberships: Arc<dyn Memberships>,
    /// The audit log.
    pub audit_log: Arc<dyn AuditLog>,
    /// The dispatcher's queue.
    pub dispatch: Arc<dyn DispatchQueue>,
    /// The notifier's queue.
    pub notifications: Arc<dyn Notifications>,
    /// The queue of bulk operations.
    pub batch_queue: Arc<dyn BatchQueue>,
    /// The dead-letter queues.
    pub dead_letters: Arc<dyn DeadLetterQueues>,
    /// The sending side of the WebSocket API.
    pub gateway: Arc<dyn Gateway>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The generator of new ids.
    pub ids: Arc<dyn IdGenerator>,
    /// The deployment's settings.
    pub settings: Settings,
}

impl Ports {
    /// Enqueues a dispatch of the agent's queue.
    pub async fn request_dispatch(&self, agent: &AgentId) -> Result<(), QueueError> {
        self.request_dispatch_after(agent, Duration::ZERO).await
    }

    /// Enqueues a dispatch of the agent's queue, after `delay`.
    pub async fn request_dispatch_after(
        &self,
        agent: &AgentId,
        delay: Duration,
    ) -> Result<(), QueueError> {
        let message = DispatchMessage::agent_queue(agent.clone());
        self.dispatch.send(&[(message, delay)]).await
    }

    /// Sends a ping, which the agent has to echo. It also keeps API Gateway from closing the
    /// connection as idle, after 10 min. A connection that is gone becomes silent, and a later sweep
    /// finds it.
    pub async fn ping_agent(&self, binding: &Binding, now: Timestamp) -> Result<(), GatewayError> {
        let spelling = binding.spelling.unwrap_or_default();
        let server_time = Some(now);
        let ping = CloudMessage::HeartbeatPing(Heartbeat { server_time });
        self.gateway
            .send(&binding.id, spelling, ping)
            .await
            .map(drop)
    }
}

/// The settings of a deployment.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The limits and delays of the task life cycle.
    pub policy: TaskPolicy,
    /// The settings of circuit breakers that have none of their own.
    pub breaker: BreakerConfig,
    /// The Slack channel that is notified when a breaker opens or closes, and whose operators may
    /// give an admin's commands there.
    pub operations_channel: Option<ChannelId>,
    /// Who may do what.
    pub access: AccessSettings,
    /// The limits of what people may ask for.
    pub limits: RequestLimits,
    /// How long records of the audit log are kept.
    pub audit_retention: AuditRetention,
    /// Whether a connection may authenticate in band, by AUTH_REQUEST.
    pub allows_in_band_authentication: bool,
}
