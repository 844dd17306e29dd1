//! DynamoDB: two tables on demand, every access pattern a key or an index query.
//!
//! Table `tasks`
//!
//! | what | pk | sk | read by |
//! |---|---|---|---|
//! | task | `TASK#<id>` | `TASK` | id; index `channel` (`CHANNEL#<channel>`, newest first) unless put away; index `due` (sharded, by time) until it is over and shown |
//! | specification | `TASK#<id>` | `SPEC` | id |
//! | result | `TASK#<id>` | `RESULT` | id |
//! | Slack message | `TASK#<id>`, `BATCH#<id>`, `NOTICE#<id>` | `CARD` | id |
//! | late report | `TASK#<id>` | `LATE#<attempt>` | task |
//! | step | `TASK#<id>` | `STEP#<attempt>#<time>#<message>` | newest of an attempt |
//! | output | `TASK#<id>` | `CHUNK#<attempt>#<place>` | newest of an attempt |
//! | place in a queue | `QUEUE#<agent>` | `<priority>#<time>#<task>` | head of an agent's queue; how many there are |
//! | bulk work | `BATCH#<id>` | `BATCH` | id; index `due` (`BATCHES`, by time) until it is done |
//! | request | `REQUEST#<Slack's id>` | `REQUEST` | id; makes a repeated request harmless |
//!
//! Table `agents`
//!
//! | what | pk | sk | read by |
//! |---|---|---|---|
//! | agent | `AGENT#<id>` | `AGENT` | id; index `list` (sharded by name); index `due` (sharded by name) while it is connected |
//! | circuit breaker | `AGENT#<id>` | `BREAKER` | id, alone or with a task; what it lets through is a copy in the agent |
//! | key | `AGENT#<id>` | `KEY#<sha256>` | agent and hash |
//! | connection that authenticates in band | `CONN#<id>` | `CONN` | id; index `due` (sharded, by deadline) until it has |
//! | project | `PROJECT#<channel>` | `PROJECT` | channel; index `list` |
//!
//! A queue is items of the table, not an index: an index lags behind its table, and a task that a
//! dispatcher does not see would wait for the sweeper. The place in the queue is a copy of the
//! task, written in the transaction that makes the task pending and removed in the one that claims
//! it, so the dispatcher reads the head of a queue in one consistent query.
//!
//! An index names its items and shows no more of them (but for `channel`, whose tasks are read as they
//! are listed): what it shows costs another write when it changes. The items are then read by key.
//!
//! To add a record: its key in `keys`, a line above, [`table::Record`] for it, and a method on the
//! repository of its aggregate.

mod agents;
mod batches;
mod breakers;
mod cards;
mod connections;
mod due;
mod keys;
mod lists;
mod liveness;
mod projects;
mod reports;
mod several;
mod table;
mod tasks;
mod transition;

pub use self::{agents::AgentStore, projects::ProjectStore, tasks::TaskStore};
