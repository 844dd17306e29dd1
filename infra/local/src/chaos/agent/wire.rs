//! The protocol as the agents of a run speak it: on JSON alone, so that nothing of the system under
//! test is what it is tested with.

use bematic::task::Slot;
use bematic_protocol::ids::TaskId;
use bematic_protocol::time::Timestamp;
use serde_json::{Value, json};

/// What the cloud says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// TASK_SUBMIT
    Submit {
        run: Slot,
        message: String,
        sent_at: Timestamp,
    },
    /// TASK_CANCEL
    Cancel(TaskId),
    /// MESSAGE_ACK of the message with this id.
    Confirmed(String),
    /// HEARTBEAT_PING
    Ping(Timestamp),
    /// What calls for nothing.
    Other,
}

/// Reads a message.
pub(super) fn read(text: &str) -> Heard {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    let payload = &message["payload"];
    match message["type"].as_str() {
        Some("TASK_SUBMIT") => submit(&message).unwrap_or(Heard::Other),
        Some("TASK_CANCEL") => task(payload).map_or(Heard::Other, Heard::Cancel),
        Some("MESSAGE_ACK") => Heard::Confirmed(word(&payload["messageId"])),
        Some("HEARTBEAT_PING") => Heard::Ping(time(&payload["serverTime"])),
        _ => Heard::Other,
    }
}

/// Writes a message.
pub(super) fn write(id: &str, kind: &str, payload: &Value, at: Timestamp) -> String {
    json!({ "id": id, "type": kind, "payload": payload, "timestamp": at.as_millis() }).to_string()
}

/// A payload about an attempt.
pub(super) fn about(run: Slot, mut fields: Value) -> Value {
    fields["taskId"] = json!(run.task_id);
    fields["attempt"] = json!(run.attempt);
    fields
}

fn submit(message: &Value) -> Option<Heard> {
    let payload = &message["payload"];
    let attempt = u32::try_from(payload["attempt"].as_u64()?).ok()?;
    Some(Heard::Submit {
        run: Slot {
            task_id: task(payload)?,
            attempt: attempt.try_into().ok()?,
        },
        message: word(&message["id"]),
        sent_at: time(&message["timestamp"]),
    })
}

fn task(payload: &Value) -> Option<TaskId> {
    payload["taskId"].as_str()?.parse().ok()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::from_millis(value.as_u64().unwrap_or_default())
}
