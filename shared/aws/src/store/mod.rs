//! The adapters to DynamoDB: three tables with on-demand capacity. Every read is a lookup by key or
//! a query of a table or an index; there are no scans.
//!
//! Table `tasks`
//!
//! | record | pk | sk | read by |
//! |---|---|---|---|
//! | task | `TASK#<id>` | `TASK` | id; index `channel` (`CHANNEL#<channel>`, newest first) unless archived; index `due` (sharded, by time) until it has ended and Slack shows so |
//! | specification | `TASK#<id>` | `SPEC` | id |
//! | result | `TASK#<id>` | `RESULT` | id |
//! | card (Slack message) | `TASK#<id>`, `BATCH#<id>`, `NOTICE#<id>` | `CARD` | id |
//! | late report | `TASK#<id>` | `LATE#<attempt>` | task |
//! | progress report | `TASK#<id>` | `STEP#<attempt>#<time>#<message>` | newest of an attempt |
//! | output | `TASK#<id>` | `CHUNK#<attempt>#<place>` | newest of an attempt |
//! | place in a queue | `QUEUE#<agent>` | `<priority>#<time>#<task>` | head of an agent's queue; count of a queue |
//! | bulk operation | `BATCH#<id>` | `BATCH` | id; index `due` (`BATCHES`, by time) until it is done |
//! | request | `REQUEST#<Slack's id>` | `REQUEST` | id; detects a request that Slack repeats |
//!
//! Table `agents`
//!
//! | record | pk | sk | read by |
//! |---|---|---|---|
//! | agent | `AGENT#<id>` | `AGENT` | id; index `list` (sharded by name); index `due` (sharded by name) while it is connected |
//! | circuit breaker | `AGENT#<id>` | `BREAKER` | id, alone or together with a task; its gate is copied into the agent's record |
//! | connection that authenticates in band | `CONN#<id>` | `CONN` | id; index `due` (sharded, by deadline) until it is bound |
//! | project | `PROJECT#<channel>` | `PROJECT` | channel; index `list` |
//! | tasks of a person in an hour | `USER#<user>#<hour>` | `TASKS` | written with a new task, on condition of the limit |
//! | role | `USER#<user>` | `ROLE` | person, together with membership and project; index `list` |
//! | membership, as Slack said | `USER#<user>` | `MEMBER` | person, together with role and project |
//! | audit record | `AUDIT#<30 days>` | `<time>#<request>` | time, newest first |
//!
//! Table `keys`, which only the authorizer and authentication in band read, and only the
//! administration command writes. The time of a key's last use and its revocation are in the
//! agent's record, which a bind writes and checks.
//!
//! | record | pk | sk | read by |
//! |---|---|---|---|
//! | API key | `AGENT#<id>` | `KEY#<sha256>` | agent and hash, alone or in the transaction that binds a connection; all of an agent by the administration command |
//!
//! An agent's queue is a partition of the table and not an index. An index is eventually
//! consistent: a task that the dispatcher does not see in it would wait for the sweeper. A place in
//! a queue is a copy of the task, written in the transaction that makes the task pending and deleted
//! in the one that claims it, so that one consistent query reads the head of a queue.
//!
//! An index projects only what identifies its items (`due` also the ids). DynamoDB bills another
//! write whenever a projected attribute changes. The items are then read by key.
//!
//! To add a record: a key in `keys`, a row in a table above, and methods in the repository of its
//! aggregate. To add a query: a method of the repository; if an index is needed, its attributes where
//! the item is put, and the index in `template.yaml`. A field that an expression names is listed in
//! `write::FIELDS_IN_EXPRESSIONS`. `CONTRIBUTING.md` has a worked example.

mod agents;
mod api_keys;
mod batches;
mod breakers;
mod connections;
mod keys;
mod lists;
mod people;
mod presence;
mod reports;
mod table;
mod tasks;
mod transition;
mod write;

use aws_sdk_dynamodb::Client;
use quick_cache::sync::Cache;

pub use self::api_keys::{KeyStore, RevocationOutcome};
use self::{keys::Key, table::Table};

/// The number of attempts whose reports are counted.
const STORED_CACHE_CAPACITY: usize = 4096;

/// Tasks, bulk operations and cards in DynamoDB.
#[derive(Debug)]
pub struct TaskStore {
    tasks: Table,
    agents: Table,
    /// The number of reports that were stored here since they were last trimmed, by the prefix of
    /// their keys.
    stored: Cache<Key, u64>,
}

impl TaskStore {
    /// Creates the repository on the two tables.
    pub fn new(client: Client, tasks: String, agents: String) -> Self {
        Self {
            tasks: Table::new(client.clone(), tasks),
            agents: Table::new(client, agents),
            stored: Cache::new(STORED_CACHE_CAPACITY),
        }
    }
}

/// Agents, their connections and circuit breakers in DynamoDB.
#[derive(Debug, Clone)]
pub struct AgentStore {
    agents: Table,
}

impl AgentStore {
    /// Creates the repository on the agents table.
    pub const fn new(client: Client, agents: String) -> Self {
        Self {
            agents: Table::new(client, agents),
        }
    }
}

/// People's roles, their membership of the workspace and the audit log in DynamoDB.
#[derive(Debug, Clone)]
pub struct PeopleStore {
    agents: Table,
}

impl PeopleStore {
    /// Creates the repository on the agents table.
    pub const fn new(client: Client, agents: String) -> Self {
        Self {
            agents: Table::new(client, agents),
        }
    }
}

/// Projects in DynamoDB.
#[derive(Debug, Clone)]
pub struct ProjectStore {
    agents: Table,
}

impl ProjectStore {
    /// Creates the repository on the agents table.
    pub const fn new(client: Client, agents: String) -> Self {
        Self {
            agents: Table::new(client, agents),
        }
    }
}
