//! Fuzz targets of the functions that the outside reaches, over the production adapters: Slack's
//! requests and agents' messages. No input makes a function panic or fail as if Bematic were the
//! cause.

use std::cell::Cell;

use bematic::{
    handlers::webhook::{Request, Webhook},
    slack::signature::sign,
};
use bematic_fuzz::{Result, Unstructured, fuzz, json_like, text};
use bematic_protocol::{messages::CloudMessage, time::Clock as _};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::world::{AGENT, SECRET, World, event};

/// A runtime whose time stands still, so that no limit of time ends a slow call.
fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

/// The headers of a request, as far as the signature is concerned.
#[derive(Debug, Clone)]
enum Signed {
    Correctly,
    ForAnotherBody,
    WithAnotherSecret,
    TooLongAgo,
    Somehow(Option<String>, Option<String>),
}

fn read_signed(source: &mut Unstructured<'_>) -> Result<Signed> {
    let header = |source: &mut Unstructured<'_>| {
        let words = ["v0=", "1700000000", "a2114d57b48eac39b9ad189d"];
        let is_present: bool = source.arbitrary()?;
        is_present.then(|| text(source, &words)).transpose()
    };
    Ok(match source.int_in_range(0..=10)? {
        0..=5 => Signed::Correctly,
        6 => Signed::ForAnotherBody,
        7 => Signed::WithAnotherSecret,
        8 => Signed::TooLongAgo,
        _ => Signed::Somehow(header(source)?, header(source)?),
    })
}

/// Returns examples of the bodies of events and of interactions.
fn examples() -> (Vec<Value>, Vec<Value>) {
    let installation = json!({ "team_id": "T1", "api_app_id": "A1" });
    let with = |mut fields: Value| {
        for (name, value) in installation.as_object().unwrap() {
            fields[name] = value.clone();
        }
        fields
    };
    let mention = |text: &str| {
        with(json!({ "type": "event_callback", "event_id": "E1",
            "event": { "type": "app_mention", "user": "U1", "channel": "C1", "text": text, "ts": "1.2" } }))
    };
    let events = vec![
        mention("<@B> fix it"),
        mention("<@B> help"),
        with(json!({ "type": "url_verification", "challenge": "x" })),
    ];
    let press = |action: &str, value: &str| {
        json!({ "type": "block_actions", "team": { "id": "T1" }, "api_app_id": "A1",
            "user": { "id": "U1", "team_id": "T1" }, "channel": { "id": "C1" }, "trigger_id": "t",
            "actions": [{ "action_id": action, "value": value }] })
    };
    let presses = vec![
        press("cancel", "00000000-0000-0000-0000-000000000001"),
        press("retry", "00000000-0000-0000-0000-000000000001"),
        press("breaker_reset", AGENT),
    ];
    (events, presses)
}

/// Reads the body of a command.
fn read_command(source: &mut Unstructured<'_>) -> Result<String> {
    let words = [
        "run",
        "run fix it",
        "status",
        "tasks",
        "agents",
        "help",
        "cancel",
        "retry",
        "all",
        "failed",
        "cancel all",
        "retry failed",
        "archive",
        "health",
        "reset",
        "--agent",
        AGENT,
        "dead-letters",
        "redrive",
        "role",
        "role <@U2> viewer",
        "users",
        "audit",
        "audit --since 2d",
        "--since",
        "<@U1>",
        "admin",
        "00000000-0000-0000-0000-000000000001",
    ];
    let count = source.int_in_range(0..=4)?;
    let arguments = (0..count).map(|_| match source.int_in_range(0..=4)? {
        4 => text(source, &[]),
        _ => source.choose(&words).map(|word| (*word).to_owned()),
    });
    let arguments: Vec<_> = arguments.collect::<Result<_>>()?;
    let odd = text(source, &["C1"])?;
    let channel = if source.arbitrary()? { &*odd } else { "C1" };
    Ok(form(&[
        ("team_id", "T1"),
        ("api_app_id", "A1"),
        ("channel_id", channel),
        ("user_id", "U1"),
        ("text", &arguments.join(" ")),
        ("trigger_id", &odd),
    ]))
}

/// A request's path and body.
type Sent = (&'static str, String);

fn read_request(
    source: &mut Unstructured<'_>,
    (events, presses): &(Vec<Value>, Vec<Value>),
) -> Result<Sent> {
    const PATHS: [&str; 5] = [
        "/slack/commands",
        "/slack/events",
        "/slack/interactions",
        "/",
        "",
    ];
    Ok(match source.int_in_range(0..=6)? {
        0 | 1 => (PATHS[0], read_command(source)?),
        2 | 3 => (PATHS[1], json_like(source, events, &[])?),
        4 | 5 => {
            let payload = json_like(source, presses, &[])?;
            (PATHS[2], form(&[("payload", &payload)]))
        }
        _ => (source.choose(&PATHS)?, text(source, &[])?),
    })
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

/// Sends a request to the webhook, and returns the status of the response.
async fn send(world: &World, webhook: &Webhook, path: &str, body: &str, signed: &Signed) -> u16 {
    let sign = |secret: &str, time: u64, body: &str| {
        let time = time.to_string();
        let signature = sign(&SecretString::from(secret), &time, body.as_bytes()).unwrap();
        (Some(time), Some(signature))
    };
    let now = world.time.now().as_secs();
    let (timestamp, signature) = match signed {
        Signed::Correctly => sign(SECRET, now, body),
        Signed::ForAnotherBody => sign(SECRET, now, &format!("{body} ")),
        Signed::WithAnotherSecret => sign("another", now, body),
        Signed::TooLongAgo => sign(SECRET, now - 301, body),
        Signed::Somehow(time, signature) => (time.clone(), signature.clone()),
    };
    let request = Request {
        path,
        timestamp: timestamp.as_deref(),
        signature: signature.as_deref(),
        body: body.as_bytes(),
    };
    webhook.handle(request).await.status
}

#[test]
fn fuzz_the_webhook() {
    let runtime = runtime();
    let start = || {
        let world = runtime.block_on(World::new());
        let webhook = world.webhook();
        (world, webhook)
    };
    // What an input that fails leaves behind is not used again: the next inputs make it smaller.
    let kept = Cell::new(None);
    let examples = examples();
    let read_input = |source: &mut Unstructured<'_>| {
        Ok((read_request(source, &examples)?, read_signed(source)?))
    };
    fuzz!(read_input, |((path, body), signed)| {
        let (world, webhook) = kept.take().unwrap_or_else(start);
        world.calls.take();
        let status = runtime.block_on(send(&world, &webhook, path, body, signed));
        let calls = world.calls.take();
        assert!((200..500).contains(&status), "{status}: {calls:?}");
        if !matches!(signed, Signed::Correctly) {
            assert!([401, 404].contains(&status), "{status}");
            assert!(calls.is_empty(), "{calls:?}");
        }
        kept.set(Some((world, webhook)));
    });
}

#[test]
fn fuzz_the_message_router() {
    let runtime = runtime();
    let start = || {
        runtime.block_on(async {
            let world = World::new().await;
            let task = world.dispatched().await.id;
            let router = world.router();
            (world, router, task)
        })
    };
    let first = start();
    let task = first.2;
    let kept = Cell::new(Some(first));
    let about = |kind: &str, mut payload: Value| {
        payload["taskId"] = json!(task);
        json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": 1_700_000_000_000_u64 })
    };
    let plain = |kind: &str, payload: Value| json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": 1_700_000_000_000_u64 });
    let messages = [
        about(
            "TASK_ACK",
            json!({ "accepted": true, "attempt": 1, "reason": "x" }),
        ),
        about(
            "task:progress",
            json!({ "progress": 5, "steps": ["a"], "message": "m", "type": "thinking" }),
        ),
        about("TASK_STREAM", json!({ "delta": "x", "seq": 1 })),
        about("TASK_STREAM", json!({ "delta": "x", "timestamp": 1 })),
        about(
            "task:complete",
            json!({ "result": "done", "estimatedCost": 0.1, "filesChanged": ["a"] }),
        ),
        about(
            "TASK_ERROR",
            json!({ "error": "no", "recoverable": true, "fault": "task" }),
        ),
        about("TASK_CANCELLED", json!({ "reason": "x" })),
        plain("HEARTBEAT_PING", json!({ "tasks": [task] })),
        plain(
            "heartbeat:pong",
            json!({ "agentId": AGENT, "serverTime": 1, "activeTasks": 0,
            "cpuUsage": 0, "memoryUsage": 0, "tasks": [task] }),
        ),
        plain(
            "AGENT_STATUS",
            json!({ "agentId": AGENT, "status": "online", "activeTasks": [task],
            "capacity": 3 }),
        ),
        plain(
            "AUTH_REQUEST",
            json!({ "agentId": AGENT, "apiKey": "bm_x", "version": "1" }),
        ),
    ];
    let read_message = |source: &mut Unstructured<'_>| json_like(source, &messages, &[]);
    fuzz!(read_message, |body| {
        let (world, router, same_task) = kept.take().unwrap_or_else(start);
        assert_eq!(same_task, task);
        world.calls.take();
        runtime.block_on(router.handle(event("c", true, body.clone())));
        let calls = world.calls.take();
        for (_, answer) in world.out.take_sent() {
            if let CloudMessage::SystemError(error) = answer {
                let (code, text) = (&*error.code, &error.message);
                assert!(
                    !text.contains("could not handle"),
                    "{code}: {text} {calls:?}"
                );
                assert!(
                    !text.contains(char::is_control) && text.len() < 1000,
                    "{text:?}"
                );
            }
        }
        assert!(calls.len() < 20, "{calls:?}");
        kept.set(Some((world, router, task)));
    });
}
