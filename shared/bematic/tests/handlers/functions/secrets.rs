//! Neither a log line nor an error to an agent quotes content of a message, which may be a key in a
//! place where it does not belong.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bematic_protocol::time::Clock as _;
use serde_json::{Value, json};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::world::{AGENT, World, event};

/// A text that is in no message by chance, with what the reasons of parsers are made of.
const SECRET: &str = "bm_5ecre7, expected \u{1b}nothing\nSECRET:x";
/// A text of the form of a key, of letters only as a message's type.
const KEY: &str = "bm_feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface";

/// The lines that are logged by this thread.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Has everything logged here that a function would log at the level INFO, in the format of the
    /// deployment.
    pub(super) fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt().json();
        let subscriber = subscriber.with_max_level(LevelFilter::INFO);
        tracing::subscriber::set_default(subscriber.with_writer(self.clone()).finish())
    }

    pub(super) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

/// Returns every message with all of its fields.
fn messages(task: &str) -> Vec<(&'static str, Value)> {
    vec![
        (
            "AUTH_REQUEST",
            json!({ "agentId": AGENT, "apiKey": "k", "version": "1", "capabilities": ["x"] }),
        ),
        (
            "HEARTBEAT_PING",
            json!({ "serverTime": 1, "tasks": [task] }),
        ),
        (
            "HEARTBEAT_PONG",
            json!({ "agentId": AGENT, "serverTime": 1, "activeTasks": 0, "cpuUsage": 0,
            "memoryUsage": 0, "tasks": [task] }),
        ),
        (
            "AGENT_STATUS",
            json!({ "agentId": AGENT, "status": "online", "activeTasks": [task],
            "capacity": 3, "version": "1", "resourceStatus": { "healthScore": 1,
            "memoryUsagePercent": 1, "cpuUsagePercent": 1, "canAcceptTasks": true } }),
        ),
        (
            "TASK_ACK",
            json!({ "taskId": task, "attempt": 1, "accepted": true, "reason": "r",
            "retryable": true, "spent": true, "queuePosition": 1 }),
        ),
        (
            "TASK_PROGRESS",
            json!({ "taskId": task, "attempt": 1, "progress": 1, "message": "m",
            "steps": ["s"], "type": "info", "timestamp": 1 }),
        ),
        (
            "TASK_STREAM",
            json!({ "taskId": task, "attempt": 1, "delta": "d", "seq": 1, "timestamp": 1 }),
        ),
        (
            "TASK_ERROR",
            json!({ "taskId": task, "attempt": 1, "error": "e", "recoverable": true,
            "sessionId": "s", "fault": "task" }),
        ),
        (
            "TASK_CANCELLED",
            json!({ "taskId": task, "attempt": 1, "reason": "r" }),
        ),
        (
            "TASK_COMPLETE",
            json!({ "taskId": task, "attempt": 1, "result": "r", "sessionId": "s",
            "inputTokens": 1, "outputTokens": 1, "estimatedCost": 1, "filesChanged": ["f"],
            "commandsRun": ["c"], "durationMs": 1, "continuations": 1, "attachmentResults": {},
            "model": "m" }),
        ),
    ]
}

/// Returns the pointers of all fields of a message but its id, which every answer names.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, it)| (name.clone(), it)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(n, it)| (n.to_string(), it))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{at}/{name}");
        if pointer != "/id" {
            out.push(pointer.clone());
            pointers(child, &pointer, out);
        }
    }
}

/// Returns variants of a message, each with the secret in one place.
fn with_secret(message: &Value) -> Vec<String> {
    let mut places = Vec::new();
    pointers(message, "", &mut places);
    let secrets = [
        json!(SECRET),
        json!([SECRET]),
        json!({ (SECRET): SECRET }),
        json!(KEY),
    ];
    let mut variants = vec![
        format!("{message}{SECRET}"),
        format!("\"{SECRET}"),
        json!(SECRET).to_string(),
    ];
    for place in places {
        for secret in &secrets {
            let mut variant = message.clone();
            *variant.pointer_mut(&place).unwrap() = secret.clone();
            variants.push(variant.to_string());
        }
    }
    variants
}

fn assert_silent(what: &str, text: &str) {
    for part in ["5ecre7", "feedface", "nothing", "SECRET"] {
        assert!(!text.contains(part), "{what} quotes {part}: {text}");
    }
}

#[tokio::test]
async fn neither_a_log_line_nor_an_error_quotes_a_message() {
    let log = Log::default();
    let _guard = log.capture();
    for bound in [true, false] {
        let world = World::new().await;
        let task = world.dispatched().await;
        world.add_unbound("u").await;
        let mut lines = 0;
        for (kind, payload) in messages(&task.id.to_string()) {
            let now = world.time.now().as_millis();
            let message = json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": now });
            for body in with_secret(&message) {
                let router = world.router();
                let connection = if bound { "c" } else { "u" };
                router.handle(event(connection, bound, body.clone())).await;
                for (_, answer) in world.out.take_sent() {
                    assert_silent(&format!("the answer to {body}"), &format!("{answer:?}"));
                }
                let logged = log.take();
                lines += logged.lines().count();
                assert_silent(&format!("the log of {body}"), &logged);
                let escaped = |c: char| c.is_control() && c != '\n';
                assert!(!logged.contains(escaped), "{logged:?}");
            }
        }
        assert!(lines > 300, "only {lines} lines were logged");
    }
}
