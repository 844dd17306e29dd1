//! Fuzz targets of the functions that the outside reaches, over the production adapters: Slack's
//! requests and agents' messages. No input makes a function panic or fail as if Bematic were the
//! cause.

use bematic::{
    handlers::webhook::{Request, Webhook},
    slack::signature::sign,
};
use bematic_fuzz::{fuzz, json_like, text};
use bematic_protocol::{messages::CloudMessage, time::Clock as _};
use proptest::prelude::*;
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

fn signed() -> impl Strategy<Value = Signed> {
    let header = || proptest::option::of(text(&["v0=", "1700000000", "a2114d57b48eac39b9ad189d"]));
    prop_oneof![
        6 => Just(Signed::Correctly),
        1 => Just(Signed::ForAnotherBody),
        1 => Just(Signed::WithAnotherSecret),
        1 => Just(Signed::TooLongAgo),
        2 => (header(), header()).prop_map(|(time, signature)| Signed::Somehow(time, signature)),
    ]
}

/// A request's path and body.
fn request() -> impl Strategy<Value = (&'static str, String)> {
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
    let events = json_like(
        vec![
            mention("<@B> fix it"),
            mention("<@B> help"),
            with(json!({ "type": "url_verification", "challenge": "x" })),
        ],
        &[],
    );
    let press = |action: &str, value: &str| {
        json!({ "type": "block_actions", "team": { "id": "T1" }, "api_app_id": "A1",
            "user": { "id": "U1", "team_id": "T1" }, "channel": { "id": "C1" }, "trigger_id": "t",
            "actions": [{ "action_id": action, "value": value }] })
    };
    let presses = json_like(
        vec![
            press("cancel", "00000000-0000-0000-0000-000000000001"),
            press("retry", "00000000-0000-0000-0000-000000000001"),
            press("breaker_reset", AGENT),
        ],
        &[],
    );
    let words = [
        "run",
        "status",
        "tasks",
        "agents",
        "help",
        "cancel",
        "retry",
        "all",
        "failed",
        "archive",
        "health",
        "reset",
        "--agent",
        AGENT,
        "dead-letters",
        "redrive",
        "role",
        "users",
        "audit",
        "--since",
        "<@U1>",
        "admin",
        "00000000-0000-0000-0000-000000000001",
    ];
    let arguments = proptest::collection::vec(
        prop_oneof![4 => proptest::sample::select(words.to_vec())
        .prop_map(str::to_owned), 1 => text(&[])],
        0..5,
    );
    let command = (arguments, text(&["C1"]), any::<bool>()).prop_map(|(words, odd, is_odd)| {
        let channel = if is_odd { &*odd } else { "C1" };
        form(&[
            ("team_id", "T1"),
            ("api_app_id", "A1"),
            ("channel_id", channel),
            ("user_id", "U1"),
            ("text", &words.join(" ")),
            ("trigger_id", &odd),
        ])
    });
    prop_oneof![
        2 => command.prop_map(|body| ("/slack/commands", body)),
        2 => events.prop_map(|body| ("/slack/events", body)),
        2 => presses.prop_map(|payload| ("/slack/interactions", form(&[("payload", &payload)]))),
        1 => (proptest::sample::select(vec!["/slack/commands", "/slack/events", "/slack/interactions", "/", ""]),
            text(&[])),
    ]
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
    let world = runtime.block_on(World::new());
    let webhook = world.webhook();
    fuzz(&(request(), signed()), |((path, body), signed)| {
        world.calls.take();
        let status = runtime.block_on(send(&world, &webhook, path, &body, &signed));
        let calls = world.calls.take();
        prop_assert!((200..500).contains(&status), "{status}: {calls:?}");
        if !matches!(signed, Signed::Correctly) {
            prop_assert!([401, 404].contains(&status), "{status}");
            prop_assert!(calls.is_empty(), "{calls:?}");
        }
        Ok(())
    });
}

#[test]
fn fuzz_the_message_router() {
    let runtime = runtime();
    let (world, task) = runtime.block_on(async {
        let world = World::new().await;
        let task = world.dispatched().await.id;
        (world, task)
    });
    let router = world.router();
    let about = |kind: &str, mut payload: Value| {
        payload["taskId"] = json!(task);
        json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": 1_700_000_000_000_u64 })
    };
    let plain = |kind: &str, payload: Value| json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": 1_700_000_000_000_u64 });
    let messages = json_like(
        vec![
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
        ],
        &[],
    );
    fuzz(&messages, |body| {
        world.calls.take();
        runtime.block_on(router.handle(event("c", true, body)));
        let calls = world.calls.take();
        for (_, answer) in world.out.take_sent() {
            if let CloudMessage::SystemError(error) = answer {
                let (code, text) = (&*error.code, &error.message);
                prop_assert!(
                    !text.contains("could not handle"),
                    "{code}: {text} {calls:?}"
                );
                prop_assert!(
                    !text.contains(char::is_control) && text.len() < 1000,
                    "{text:?}"
                );
            }
        }
        prop_assert!(calls.len() < 20, "{calls:?}");
        Ok(())
    });
}
