//! What the handlers need of the outside world, as small traits. The adapters are
//! [`bematic_aws::store`], [`bematic_aws::queue`], [`bematic_aws::gateway`] and [`crate::slack`]; the tests have
//! adapters of their own, in memory. One method is one AWS call unless its doc says otherwise.

mod agents;
mod batches;
mod breakers;
mod cards;
mod gateway;
mod outcome;
mod queues;
mod tasks;

use std::sync::Arc;

use bematic_protocol::{
    ids::{ChannelId, Ids},
    time::Clock,
};

use crate::{breaker::BreakerConfig, task::TaskPolicy};

pub use self::{
    agents::{
        AUTH_DEADLINE, Agents, Bound, CONNECTED_SHARDS, Connections, DispatchLeases, Drain,
        Introduction, Presence, Projects, Released, SignOfLife, Unbound,
    },
    batches::{Applied, BatchMessage, BatchQueue, Batches},
    breakers::{Breakers, Turn},
    cards::{Card, Cards},
    gateway::{Delivery, Gateway},
    outcome::{Created, Page, Written},
    queues::{
        DeadLetterQueues, DispatchMessage, DispatchQueue, Notifications, NotifyMessage, Received,
        SourceQueue,
    },
    tasks::{
        Claim, Creation, Deadlines, Kept, Output, Pass, Reports, TaskLists, Tasks, WAITING_COUNTED,
    },
};

/// What handlers work with: the outside world, the time, ids and the deployment's settings. Built in
/// one place, `bematic_aws::App`.
pub struct Ports {
    /// The tasks.
    pub tasks: Arc<dyn Tasks>,
    /// Lists of tasks.
    pub lists: Arc<dyn TaskLists>,
    /// Tasks by when somebody should look at them.
    pub deadlines: Arc<dyn Deadlines>,
    /// What tasks report.
    pub reports: Arc<dyn Reports>,
    /// The Slack messages of tasks.
    pub cards: Arc<dyn Cards>,
    /// The bulk operations.
    pub batches: Arc<dyn Batches>,
    /// The agents.
    pub agents: Arc<dyn Agents>,
    /// The agents' connections.
    pub connections: Arc<dyn Connections>,
    /// What agents say of themselves.
    pub presence: Arc<dyn Presence>,
    /// The right to dispatch an agent's queue.
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
    /// The way to connections.
    pub gateway: Arc<dyn Gateway>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn Ids>,
    /// The deployment's settings.
    pub settings: Settings,
}

/// What a deployment sets.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The numbers of the task life cycle.
    pub policy: TaskPolicy,
    /// The settings of circuit breakers that have none of their own.
    pub breaker: BreakerConfig,
    /// The Slack channel that is told when a breaker opens or closes.
    pub operations_channel: Option<ChannelId>,
}
