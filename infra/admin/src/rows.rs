//! What the commands print.

use anyhow::Result;
use bematic::agent::{Agent, Project, Route};
use bematic::dead_letter::DeadLetterQueueSummary;
use bematic_protocol::ids::AgentId;
use bematic_protocol::time::Timestamp;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::admin::IssuedKey;
use crate::keys::KeySummary;

pub(crate) fn json_or_text(
    json: bool,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<String> {
    Ok(if json {
        serde_json::to_string(value)?
    } else {
        text()
    })
}

pub(crate) fn join_rows<T>(all: &[T], none: &str, row: impl Fn(&T) -> String) -> String {
    if all.is_empty() {
        none.to_owned()
    } else {
        all.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

/// An agent in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentSummary {
    agent_id: AgentId,
    connected: bool,
    capacity: u32,
    active_tasks: usize,
    version: Option<String>,
    created_at: Timestamp,
}

impl From<Agent> for AgentSummary {
    fn from(agent: Agent) -> Self {
        Self {
            connected: agent.connection.is_some(),
            capacity: agent.capacity,
            active_tasks: agent.held.len(),
            version: agent.agent_version,
            created_at: agent.created_at,
            agent_id: agent.id,
        }
    }
}

pub(crate) fn agent_row(agent: &AgentSummary) -> String {
    let (id, tasks, capacity) = (&agent.agent_id, agent.active_tasks, agent.capacity);
    let state = if agent.connected {
        "connected"
    } else {
        "offline"
    };
    format!("{:<24} {state:<10} {tasks}/{capacity} tasks", id.as_str())
}

pub(crate) fn format_issued_key(issued: &IssuedKey) -> String {
    let IssuedKey {
        agent_id,
        api_key,
        key_id,
    } = issued;
    format!("agent  {agent_id}\nkey    {api_key}\nid     {key_id}\nThe key is not shown again.")
}

pub(crate) fn key_row(key: &KeySummary) -> String {
    let valid_until = match key.valid_until {
        Some(until) => format!("valid until {}", format_time(until)),
        None => "valid".to_owned(),
    };
    let used = match key.last_used_at {
        Some(at) => format!("last used {}", format_time(at)),
        None => "never used".to_owned(),
    };
    let created = format_time(key.created_at);
    format!(
        "{}  created {created}  {valid_until:<32}  {used}",
        key.key_id
    )
}

/// Writes a time as RFC 3339 does, in UTC.
fn format_time(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).ok();
    let time = millis.and_then(DateTime::from_timestamp_millis);
    time.map_or_else(
        || at.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

pub(crate) fn project_row(project: &Project) -> String {
    let agents = match &project.route {
        Route::Any => "any agent".to_owned(),
        route => route.to_string().replace(',', ", "),
    };
    let (channel, name) = (project.channel_id.as_str(), &project.project_id);
    let path = &project.local_path;
    let admits = if project.external_users {
        ", admits guests and others"
    } else {
        ""
    };
    format!("{channel:<16} {name:<20} on {agents}, in {path}{admits}")
}

pub(crate) fn dead_letter_rows(queues: &[DeadLetterQueueSummary]) -> String {
    let mut lines = Vec::new();
    for queue in queues {
        let name: &str = queue.queue.into();
        lines.push(format!("{name:<14} {} messages", queue.count));
        for letter in &queue.letters {
            let why = match &letter.reason {
                Some(reason) => format!("{}: {}", reason.code, reason.text),
                None => "no reason is known: SQS moved the message here, since the function \
                         ended without an error, such as by a time-out"
                    .to_owned(),
            };
            lines.push(format!("  {}  {}\n    {why}", letter.since, letter.body));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_listed_with_its_times() {
        let key = KeySummary {
            key_id: "3fa94c01".to_owned().try_into().unwrap(),
            created_at: Timestamp::from_millis(1_700_000_000_000),
            valid_until: Some(Timestamp::from_millis(1_700_086_400_000)),
            last_used_at: None,
        };
        assert_eq!(
            key_row(&key),
            "3fa94c01  created 2023-11-14T22:13:20Z  valid until 2023-11-15T22:13:20Z  never used"
        );
    }
}
