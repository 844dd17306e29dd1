//! Small traits for everything that the handlers need from the outside world. Their adapters are in
//! the crate `bematic_aws`; the tests use the same adapters on an AWS in memory. A method is one AWS
//! call, unless its doc names another number.

mod agents;
mod batches;
mod breakers;
mod cards;
mod gateway;
mod outcome;
mod queues;
mod tasks;

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{AgentId, ChannelId, Ids},
    time::Clock,
};

use crate::{breaker::BreakerConfig, error::QueueError, task::TaskPolicy};

pub use self::{
    agents::{
        AUTH_DEADLINE, Acquisition, Agents, Bound, CONNECTED_SHARDS, Connections, DispatchLeases,
        Presence, Projects, Released, SignOfLife, Unbound,
    },
    batches::{Applied, BatchMessage, BatchQueue, Batches},
    breakers::{BreakerChange, Breakers},
    cards::{Card, CardRecords},
    gateway::{Delivery, Gateway},
    outcome::{Created, Page, Written},
    queues::{
        DeadLetterQueues, DispatchMessage, DispatchQueue, Notifications, NotifyMessage, Received,
        SourceQueue,
    },
    tasks::{
        AttachedRecord, Claim, Creation, Deadlines, DispatchPermit, Reports, TaskLists, Tasks,
        WAITING_COUNTED,
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
    /// The records of Slack messages.
    pub cards: Arc<dyn CardRecords>,
    /// The bulk operations.
    pub batches: Arc<dyn Batches>,
    /// The agents.
    pub agents: Arc<dyn Agents>,
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
    pub ids: Arc<dyn Ids>,
    /// The deployment's settings.
    pub settings: Settings,
}

impl Ports {
    /// Enqueues a dispatch of the agent's queue, after `delay`.
    ///
    /// # Errors
    /// The queue's.
    pub async fn request_dispatch(
        &self,
        agent: &AgentId,
        delay: Duration,
    ) -> Result<(), QueueError> {
        let message = DispatchMessage::agent_queue(agent.clone());
        self.dispatch.send(&message, delay).await
    }
}

/// The settings of a deployment.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The limits and delays of the task life cycle.
    pub policy: TaskPolicy,
    /// The settings of circuit breakers that have none of their own.
    pub breaker: BreakerConfig,
    /// The Slack channel that is notified when a breaker opens or closes.
    pub operations_channel: Option<ChannelId>,
}
