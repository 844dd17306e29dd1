//! The keys of the tables' items and of their indexes' partitions.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use bematic::{
    agent::KeyHash,
    audit::AuditRecord,
    ports::CONNECTED_SHARDS,
    task::{ChunkPosition, OutputChunk, Priority, ProgressReport, Task},
};
use bematic_protocol::{
    ids::{
        AgentId, Attempt, BatchId, CardSubject, ChannelId, ConnectionId, TaskId, UserId,
        stable_hash,
    },
    time::Timestamp,
};

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    /// Returns the key's attributes.
    pub(super) fn attributes(&self) -> HashMap<String, AttributeValue> {
        [("pk", &self.pk), ("sk", &self.sk)]
            .map(|(name, part)| (name.to_owned(), AttributeValue::S(part.clone())))
            .into()
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pk, self.sk)
    }
}

fn in_task_partition(id: TaskId, sk: impl Into<String>) -> Key {
    Key::new(format!("TASK#{id}"), sk)
}

pub(super) fn task(id: TaskId) -> Key {
    in_task_partition(id, "TASK")
}

pub(super) fn spec(id: TaskId) -> Key {
    in_task_partition(id, "SPEC")
}

pub(super) fn result(id: TaskId) -> Key {
    in_task_partition(id, "RESULT")
}

pub(super) fn card(about: CardSubject) -> Key {
    match about {
        CardSubject::Task(id) => in_task_partition(id, "CARD"),
        CardSubject::Batch(id) => Key::new(batch(id).pk, "CARD"),
        CardSubject::Notice(id) => Key::new(format!("NOTICE#{id}"), "CARD"),
    }
}

pub(super) fn batch(id: BatchId) -> Key {
    Key::new(format!("BATCH#{id}"), "BATCH")
}

/// Returns the key prefix of an attempt's progress reports.
pub(super) fn progress_reports_prefix(id: TaskId, attempt: Attempt) -> Key {
    in_task_partition(id, format!("STEP#{:010}#", attempt.number()))
}

pub(super) fn progress_report(id: TaskId, attempt: Attempt, report: &ProgressReport) -> Key {
    let Key { pk, sk } = progress_reports_prefix(id, attempt);
    Key::new(pk, format!("{sk}{}#{}", report.at, report.message_id))
}

/// Returns the key prefix of an attempt's output.
pub(super) fn chunks_prefix(id: TaskId, attempt: Attempt) -> Key {
    in_task_partition(id, format!("CHUNK#{:010}#", attempt.number()))
}

pub(super) fn chunk(chunk: &OutputChunk) -> Key {
    match chunk.position {
        ChunkPosition::Seq(seq) => chunk_with_seq(chunk.task_id, chunk.attempt, seq),
        ChunkPosition::Time(at) => {
            let Key { pk, sk } = chunks_prefix(chunk.task_id, chunk.attempt);
            Key::new(pk, format!("{sk}T{at}#{}", chunk.message_id))
        }
    }
}

pub(super) fn chunk_with_seq(id: TaskId, attempt: Attempt, seq: u64) -> Key {
    let Key { pk, sk } = chunks_prefix(id, attempt);
    Key::new(pk, format!("{sk}S{seq:020}"))
}

/// Returns the partition of an agent's queue.
pub(super) fn queue_partition(agent: &AgentId) -> String {
    format!("QUEUE#{agent}")
}

pub(super) fn queue_place(task: &Task) -> Key {
    let priority = match task.priority {
        Priority::High => 1,
        Priority::Normal => 5,
        Priority::Low => 9,
    };
    let place = format!("{priority}#{}#{}", task.queued_at, task.id);
    Key::new(queue_partition(&task.agent_id), place)
}

/// Returns the key prefix of a task's late reports.
pub(super) fn late_reports_prefix(id: TaskId) -> Key {
    in_task_partition(id, "LATE#")
}

pub(super) fn late_report(id: TaskId, attempt: Attempt) -> Key {
    in_task_partition(id, format!("LATE#{:010}", attempt.number()))
}

pub(super) fn request(request: &str) -> Key {
    Key::new(format!("REQUEST#{request}"), "REQUEST")
}

pub(super) fn agent(id: &AgentId) -> Key {
    Key::new(format!("AGENT#{id}"), "AGENT")
}

/// The prefix of an API key's sort key, before its hash.
pub(super) const API_KEY_PREFIX: &str = "KEY#";

/// Returns the key prefix of an agent's API keys.
pub(super) fn api_keys_prefix(id: &AgentId) -> Key {
    Key::new(agent(id).pk, API_KEY_PREFIX)
}

pub(super) fn api_key(id: &AgentId, hash: &KeyHash) -> Key {
    Key::new(agent(id).pk, format!("{API_KEY_PREFIX}{}", hash.as_str()))
}

pub(super) fn breaker(id: &AgentId) -> Key {
    Key::new(agent(id).pk, "BREAKER")
}

pub(super) fn connection(id: &ConnectionId) -> Key {
    Key::new(format!("CONN#{id}"), "CONN")
}

pub(super) fn project(channel: &ChannelId) -> Key {
    Key::new(format!("PROJECT#{channel}"), "PROJECT")
}

/// Returns the key of the number of tasks that somebody has created in an hour, of those since 1970.
pub(super) fn hourly_task_count(user: &UserId, hour: u64) -> Key {
    Key::new(format!("USER#{user}#{hour}"), "TASKS")
}

pub(super) fn role(user: &UserId) -> Key {
    Key::new(format!("USER#{user}"), "ROLE")
}

pub(super) fn membership(user: &UserId) -> Key {
    Key::new(role(user).pk, "MEMBER")
}

/// The time that a partition of the audit log spans: people's commands are few, and a query of a year
/// reads thirteen partitions.
const AUDIT_PARTITION_MILLIS: u64 = 30 * 24 * 60 * 60 * 1000;

pub(super) fn audit_record(record: &AuditRecord) -> Key {
    let (at, request) = (record.at, &record.request);
    Key::new(
        audit_partition(at.as_millis() / AUDIT_PARTITION_MILLIS),
        format!("{at}#{request}"),
    )
}

/// Returns the partitions of the audit log that may have records of this time, newest first.
pub(super) fn audit_partitions(since: Timestamp, until: Timestamp) -> impl Iterator<Item = String> {
    let [first, last] = [since, until].map(|it| it.as_millis() / AUDIT_PARTITION_MILLIS);
    (first..=last).rev().map(audit_partition)
}

fn audit_partition(number: u64) -> String {
    format!("AUDIT#{number}")
}

/// Returns a channel's partition of the index `channel`.
pub(super) fn channel_partition(channel: &ChannelId) -> String {
    format!("CHANNEL#{channel}")
}

/// The partition of the index `due` with the bulk operations that are under way, which are few at a
/// time.
pub(super) const UNFINISHED_BATCHES_PARTITION: &str = "BATCHES";

// Lists in an index, each of [`LIST_SHARDS`] partitions, since a partition takes 1 000 writes/s. In
// the index `due`: tasks by time, agents by name and connections by deadline; in the index `list`:
// agents and projects by name, roles by person.
pub(super) const DUE_TASKS_LIST: &str = "DUE";
pub(super) const CONNECTED_AGENTS_LIST: &str = "CONNECTED";
pub(super) const UNAUTHENTICATED_CONNECTIONS_LIST: &str = "UNAUTHENTICATED";
pub(super) const AGENTS_LIST: &str = "AGENTS";
pub(super) const PROJECTS_LIST: &str = "PROJECTS";
pub(super) const ROLES_LIST: &str = "ROLES";

/// The number of partitions of a list.
pub(super) const LIST_SHARDS: u32 = CONNECTED_SHARDS;

/// Returns a partition of a list.
pub(super) fn shard_partition(list: &str, shard: u32) -> String {
    format!("{list}#{shard}")
}

/// Returns the partition of a list that has the record with this name.
pub(super) fn shard_partition_of(list: &str, name: &str) -> String {
    shard_partition(list, stable_hash(name) % LIST_SHARDS)
}
