//! The keys of the two tables' items and of their indexes' partitions.

use bematic::task::{ChunkPosition, OutputChunk, Priority, Step, Task};
use bematic_protocol::ids::{AgentId, Attempt, BatchId, ChannelId, ConnectionId, Subject, TaskId};

/// The attributes in expressions that no record has: those of the table's and the indexes' keys, the
/// time-to-live, and the time of an agent's last status report by the agent's clock.
pub(super) const ATTRIBUTES: [&str; 5] = ["pk", "duePk", "dueSk", "expiresAt", "statusAt"];

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pk, self.sk)
    }
}

/// Partitions that an index is spread over if all its items would otherwise have the same key. A
/// partition takes 1 000 writes/s.
pub(super) const SHARDS: u32 = bematic::ports::CONNECTED_SHARDS;

fn of_task(id: TaskId, sk: impl Into<String>) -> Key {
    Key::new(format!("TASK#{id}"), sk)
}

pub(super) fn task(id: TaskId) -> Key {
    of_task(id, "TASK")
}

pub(super) fn spec(id: TaskId) -> Key {
    of_task(id, "SPEC")
}

pub(super) fn result(id: TaskId) -> Key {
    of_task(id, "RESULT")
}

pub(super) fn card(about: Subject) -> Key {
    match about {
        Subject::Task(id) => of_task(id, "CARD"),
        Subject::Batch(id) => Key::new(batch(id).pk, "CARD"),
        Subject::Notice(id) => Key::new(format!("NOTICE#{id}"), "CARD"),
    }
}

pub(super) fn batch(id: BatchId) -> Key {
    Key::new(format!("BATCH#{id}"), "BATCH")
}

/// The partition of the tasks table's index `due` with the bulk operations that are under way,
/// sorted by when they count as stalled.
pub(super) const BATCHES: &str = "BATCHES";

/// Returns the key prefix of an attempt's steps.
pub(super) fn steps(id: TaskId, attempt: Attempt) -> Key {
    of_task(id, format!("STEP#{:010}#", attempt.number()))
}

pub(super) fn step(id: TaskId, attempt: Attempt, step: &Step) -> Key {
    of_task(
        id,
        format!("{}{}#{}", steps(id, attempt).sk, step.at, step.message_id),
    )
}

/// Returns the key prefix of an attempt's output.
pub(super) fn chunks(id: TaskId, attempt: Attempt) -> Key {
    of_task(id, format!("CHUNK#{:010}#", attempt.number()))
}

pub(super) fn chunk(chunk: &OutputChunk) -> Key {
    match chunk.position {
        ChunkPosition::Seq(seq) => chunk_at(chunk.task_id, chunk.attempt, seq),
        ChunkPosition::Time(at) => {
            let prefix = chunks(chunk.task_id, chunk.attempt).sk;
            of_task(chunk.task_id, format!("{prefix}T{at}#{}", chunk.message_id))
        }
    }
}

pub(super) fn chunk_at(id: TaskId, attempt: Attempt, seq: u64) -> Key {
    of_task(id, format!("{}S{seq:020}", chunks(id, attempt).sk))
}

/// Returns the partition of an agent's queue.
pub(super) fn queue(agent: &AgentId) -> String {
    format!("QUEUE#{agent}")
}

pub(super) fn queued(task: &Task) -> Key {
    let priority = match task.priority {
        Priority::High => 1,
        Priority::Normal => 5,
        Priority::Low => 9,
    };
    Key::new(
        queue(&task.agent_id),
        format!("{priority}#{}#{}", task.queued_at, task.id),
    )
}

/// Returns the key prefix of a task's late reports.
pub(super) fn late_reports(id: TaskId) -> Key {
    of_task(id, "LATE#")
}

pub(super) fn late_report(id: TaskId, attempt: Attempt) -> Key {
    of_task(id, format!("LATE#{:010}", attempt.number()))
}

pub(super) fn request(request: &str) -> Key {
    Key::new(format!("REQUEST#{request}"), "REQUEST")
}

/// Returns the partition of the index `channel`.
pub(super) fn channel(channel: &ChannelId) -> String {
    format!("CHANNEL#{channel}")
}

pub(super) fn agent(id: &AgentId) -> Key {
    Key::new(format!("AGENT#{id}"), "AGENT")
}

pub(super) fn api_key(id: &AgentId, hash: &str) -> Key {
    Key::new(agent(id).pk, format!("KEY#{hash}"))
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

/// Returns a task's partition of the tasks table's index `due`.
pub(super) fn due(task: TaskId) -> String {
    list("DUE", &task.to_string())
}

/// Returns a connected agent's partition of the agents table's index `due`.
pub(super) fn connected(agent: &AgentId) -> String {
    list("CONNECTED", agent.as_str())
}

/// Returns an unauthenticated connection's partition of the agents table's index `due`, which is
/// sorted by deadline.
pub(super) fn unauthenticated(connection: &ConnectionId) -> String {
    list("UNAUTHENTICATED", connection.as_str())
}

/// Returns the partition of the index `list` that `name` falls into.
pub(super) fn list(kind: &str, name: &str) -> String {
    shard(kind, bematic_protocol::ids::stable_hash(name) % SHARDS)
}

pub(super) fn shard(kind: &str, shard: u32) -> String {
    format!("{kind}#{shard}")
}
