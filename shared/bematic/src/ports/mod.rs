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

pub use self::{
    agents::{
        AUTH_DEADLINE, Agents, Bound, CONNECTED_SHARDS, Drain, Introduction, Projects, Released,
        SignOfLife, Unbound,
    },
    batches::{Applied, BatchMessage, BatchQueue, Batches},
    breakers::{Breakers, Turn},
    cards::{Card, Cards},
    gateway::{Delivery, Gateway},
    outcome::{Created, Page, Written},
    queues::{
        DeadLetterQueues, DispatchMessage, DispatchQueue, Notifications, NotifyMessage, Received,
        Show, SourceQueue,
    },
    tasks::{Blind, Claim, Creation, Kept, Output, Pass, Tasks, WAITING_COUNTED},
};
