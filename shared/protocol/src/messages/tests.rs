use bematic_fuzz::{fuzz, json_like};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ids::TaskId;

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";

fn wire(kind: &str, payload: &Value) -> String {
    json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": 1_700_000_000_000_u64 })
        .to_string()
}

fn from_agent(kind: &str, payload: &Value) -> Result<AgentMessage, ProtocolError> {
    decode::<AgentMessage>(&wire(kind, payload)).map(|(envelope, _)| envelope.message)
}

/// Returns every message with its required fields only.
fn minimal() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "AUTH_REQUEST",
            "auth:request",
            json!({"agentId": "a", "apiKey": "bm_x", "version": "1"}),
        ),
        ("HEARTBEAT_PING", "heartbeat:ping", json!({})),
        (
            "HEARTBEAT_PONG",
            "heartbeat:pong",
            json!({"agentId": "a", "serverTime": 1, "activeTasks": 2, "cpuUsage": 0.5, "memoryUsage": 1}),
        ),
        (
            "AGENT_STATUS",
            "agent:status",
            json!({"agentId": "a", "status": "online", "activeTasks": [TASK]}),
        ),
        (
            "TASK_ACK",
            "task:ack",
            json!({"taskId": TASK, "accepted": true}),
        ),
        ("TASK_PROGRESS", "task:progress", json!({"taskId": TASK})),
        (
            "TASK_STREAM",
            "task:stream",
            json!({"taskId": TASK, "delta": "x"}),
        ),
        (
            "TASK_COMPLETE",
            "task:complete",
            json!({"taskId": TASK, "result": "done"}),
        ),
        (
            "TASK_ERROR",
            "task:error",
            json!({"taskId": TASK, "error": "no"}),
        ),
        ("TASK_CANCELLED", "task:cancelled", json!({"taskId": TASK})),
    ]
}

#[test]
fn every_message_is_read_in_both_spellings_and_with_unknown_fields() {
    for (canonical, colons, mut payload) in minimal() {
        payload["fieldOfTomorrow"] = json!({"x": 1});
        let (one, as_one) = decode::<AgentMessage>(&wire(canonical, &payload)).unwrap();
        let (two, as_two) = decode::<AgentMessage>(&wire(colons, &payload)).unwrap();
        assert_eq!(
            (as_one, as_two),
            (TypeSpelling::Canonical, TypeSpelling::Colons)
        );
        assert_eq!(one, two);
    }
    assert_eq!(
        minimal().len(),
        AgentMessage::VARIANTS.len(),
        "a message has no example here"
    );
}

#[test]
fn missing_fields_have_their_documented_defaults() {
    let AgentMessage::AgentStatus(status) = from_agent(
        "agent:status",
        &json!({"agentId": "a", "status": "busy", "activeTasks": []}),
    )
    .unwrap() else {
        panic!("not an AGENT_STATUS")
    };
    assert_eq!(status.capacity, 5);
    let AgentMessage::TaskAck(ack) =
        from_agent("TASK_ACK", &json!({"taskId": TASK, "accepted": false})).unwrap()
    else {
        panic!("not a TASK_ACK")
    };
    assert!(ack.retryable && ack.spent);
    for (kind, _, payload) in minimal() {
        let tasks = match from_agent(kind, &payload).unwrap() {
            AgentMessage::HeartbeatPing(ping) => ping.tasks,
            AgentMessage::HeartbeatPong(pong) => pong.tasks,
            _ => None,
        };
        assert_eq!(tasks, None, "{kind}");
    }
    let AgentMessage::TaskComplete(complete) = from_agent(
        "TASK_COMPLETE",
        &json!({"taskId": TASK, "result": "", "sessionId": null}),
    )
    .unwrap() else {
        panic!("not a TASK_COMPLETE")
    };
    assert_eq!((complete.input_tokens, complete.duration_ms), (0, 0));
    assert!(complete.files_changed.is_empty() && complete.session_id.is_none());
}

#[test]
fn a_heartbeat_may_name_tasks_and_a_refusal_may_spend_no_attempt() {
    let task: TaskId = TASK.parse().unwrap();
    let ping = from_agent("heartbeat:ping", &json!({"serverTime": 7, "tasks": [TASK]})).unwrap();
    let AgentMessage::HeartbeatPing(ping) = ping else {
        panic!("not a HEARTBEAT_PING")
    };
    assert_eq!(ping.server_time, Some(Timestamp::from_millis(7)));
    assert_eq!(ping.tasks, Some(vec![task]));
    let ack = json!({"taskId": TASK, "accepted": false, "spent": false});
    assert!(matches!(from_agent("TASK_ACK", &ack), Ok(AgentMessage::TaskAck(ack)) if !ack.spent));
    let many = json!({"tasks": vec![TASK; limits::MAX_LIST_ENTRIES + 1]});
    let refused = from_agent("HEARTBEAT_PING", &many).unwrap_err();
    assert_eq!(refused.code(), "INVALID_PAYLOAD");
}

#[test]
fn fields_with_their_default_are_left_out_as_older_agents_do() {
    let AgentMessage::TaskAck(ack) =
        from_agent("TASK_ACK", &json!({"taskId": TASK, "accepted": true})).unwrap()
    else {
        panic!("not a TASK_ACK")
    };
    let wire = serde_json::to_value(&ack).unwrap();
    assert_eq!(
        wire,
        json!({"taskId": TASK, "accepted": true, "retryable": true})
    );
    let ping = serde_json::to_value(HeartbeatSignal::default()).unwrap();
    assert_eq!(ping, json!({}));
}

#[test]
fn the_names_of_output_are_accepted_alike() {
    for name in ["delta", "chunk", "text"] {
        let message = from_agent("TASK_STREAM", &json!({"taskId": TASK, (name): "hi"})).unwrap();
        assert!(matches!(message, AgentMessage::TaskStream(stream) if stream.delta == "hi"));
    }
}

#[test]
fn numbers_may_be_written_as_javascript_writes_them() {
    let text = r#"{"id":"m","type":"HEARTBEAT_PONG","timestamp":1.7e12,"payload":
        {"agentId":"a","serverTime":1700000000000.5,"activeTasks":2.0,"cpuUsage":0,"memoryUsage":1}}"#;
    let (envelope, _) = decode::<AgentMessage>(text).unwrap();
    assert_eq!(envelope.timestamp.as_millis(), 1_700_000_000_000);
}

#[test]
fn an_invalid_message_is_refused_with_a_code_and_its_id() {
    let refused = [
        ("NOPE", json!({}), "UNKNOWN_MESSAGE_TYPE"),
        (
            "task_ack",
            json!({"taskId": TASK, "accepted": true}),
            "UNKNOWN_MESSAGE_TYPE",
        ),
        ("TASK_SUBMIT", json!({}), "UNKNOWN_MESSAGE_TYPE"),
        (
            "TASK_ACK",
            json!({"taskId": "42", "accepted": true}),
            "INVALID_PAYLOAD",
        ),
        ("TASK_ACK", json!({"taskId": TASK}), "INVALID_PAYLOAD"),
        ("TASK_ACK", json!("text"), "INVALID_ENVELOPE"),
        (
            "TASK_PROGRESS",
            json!({"taskId": TASK, "progress": 100.5}),
            "INVALID_PAYLOAD",
        ),
        (
            "TASK_PROGRESS",
            json!({"taskId": TASK, "progress": -1}),
            "INVALID_PAYLOAD",
        ),
        (
            "TASK_PROGRESS",
            json!({"taskId": TASK, "steps": [7]}),
            "INVALID_PAYLOAD",
        ),
        (
            "TASK_PROGRESS",
            json!({"taskId": TASK, "message": "x".repeat(10_001)}),
            "INVALID_PAYLOAD",
        ),
        (
            "TASK_STREAM",
            json!({"taskId": TASK, "delta": "x", "seq": -1}),
            "INVALID_PAYLOAD",
        ),
        (
            "AGENT_STATUS",
            json!({"agentId": "a b", "status": "online", "activeTasks": []}),
            "INVALID_PAYLOAD",
        ),
        (
            "AGENT_STATUS",
            json!({"agentId": "a", "status": "online", "activeTasks": [], "capacity": 0}),
            "INVALID_PAYLOAD",
        ),
        (
            "HEARTBEAT_PONG",
            json!({"agentId": "a", "serverTime": 1, "activeTasks": 1, "cpuUsage": 50, "memoryUsage": 0}),
            "INVALID_PAYLOAD",
        ),
    ];
    for (kind, payload, code) in refused {
        let error = from_agent(kind, &payload).expect_err(&format!("{kind} {payload}"));
        assert_eq!(error.code(), code, "{kind} {payload}");
        assert_eq!(error.message_id().map(MessageId::as_str), Some("m1"));
    }
}

#[test]
fn an_error_does_not_repeat_what_may_be_a_key() {
    let key = format!("bm_{}", "5e".repeat(32));
    let request = json!({ "agentId": "a", "apiKey": key }).to_string();
    let payloads = [
        ("AUTH_REQUEST", json!(request)),
        ("AUTH_REQUEST", json!([request])),
        ("AUTH_REQUEST", json!({ "agentId": "a", "apiKey": [key] })),
        (
            "AUTH_REQUEST",
            json!({ "agentId": "a", "apiKey": key, "capabilities": key }),
        ),
        (
            "TASK_PROGRESS",
            json!({ "taskId": TASK, "type": format!("{key}, expected {key}") }),
        ),
    ];
    for (kind, payload) in payloads {
        let error = from_agent(kind, &payload).unwrap_err().to_string();
        assert!(!error.contains(&key), "{error}");
    }
    let error = from_agent(&key, &json!({})).unwrap_err().to_string();
    assert!(!error.contains("5e5e"), "{error}");
}

#[test]
fn an_error_does_not_repeat_a_long_text_of_the_agent() {
    let long = "🦀\"".repeat(10_000);
    let payloads = [
        (
            "TASK_COMPLETE",
            json!({"taskId": TASK, "result": "x", "durationMs": long}),
        ),
        ("TASK_PROGRESS", json!({"taskId": TASK, "progress": long})),
        (
            "AGENT_STATUS",
            json!({"agentId": "a", "status": long, "activeTasks": []}),
        ),
        ("TASK_ACK", json!(long)),
        (
            "AUTH_REQUEST",
            json!({
                "agentId": "a", "apiKey": "k", "version": "1",
                "capabilities": vec!["x".repeat(limits::MAX_NAME_CHARS + 1); limits::MAX_LIST_ENTRIES],
            }),
        ),
    ];
    for (kind, payload) in payloads {
        let error = from_agent(kind, &payload).unwrap_err();
        assert!(error.to_string().len() < 2000, "{kind}");
    }
    let timed = json!({"id": "m1", "type": "HEARTBEAT_PING", "payload": {}, "timestamp": long});
    let error = decode::<AgentMessage>(&timed.to_string()).unwrap_err();
    assert!(
        error.to_string().contains("expected a JSON number"),
        "{error}"
    );
}

#[test]
fn text_that_is_not_a_message_is_refused() {
    for (text, code) in [
        ("", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        ("[]", "INVALID_ENVELOPE"),
        (r#"["m",1,"HEARTBEAT_PING",{}]"#, "INVALID_ENVELOPE"),
        (
            r#"{"id":"m","type":"HEARTBEAT_PING","payload":[],"timestamp":1}"#,
            "INVALID_ENVELOPE",
        ),
        ("{\"id\":\"m\"}", "INVALID_ENVELOPE"),
        (
            r#"{"id":"","type":"TASK_ACK","payload":{},"timestamp":1}"#,
            "INVALID_ENVELOPE",
        ),
        (
            r#"{"id":"m","type":"TASK_ACK","payload":{},"timestamp":"now"}"#,
            "INVALID_ENVELOPE",
        ),
    ] {
        assert_eq!(
            decode::<AgentMessage>(text).unwrap_err().code(),
            code,
            "{text}"
        );
    }
}

fn submit(prompt: &str) -> Envelope<CloudMessage> {
    Envelope {
        id: "m1".parse().unwrap(),
        timestamp: Timestamp::from_millis(1),
        message: CloudMessage::TaskSubmit(Box::new(TaskSubmit {
            task_id: TASK.parse::<TaskId>().unwrap(),
            attempt: Some(crate::ids::Attempt::FIRST),
            project_id: "web".into(),
            bot_name: "Bematic".into(),
            command: "run".into(),
            prompt: prompt.into(),
            system_prompt: String::new(),
            local_path: "/srv/web".into(),
            model: "default".into(),
            max_budget: 5.0,
            allowed_tools: vec![],
            resume_session_id: None,
            max_continuations: None,
            parent_task_id: None,
            attachments: None,
            slack_context: SlackContext {
                channel_id: "C1".parse().unwrap(),
                thread_ts: None,
                user_id: "U1".parse().unwrap(),
            },
        })),
    }
}

#[test]
fn a_submitted_task_has_every_field_that_strict_agents_ask_for() {
    let text = submit("fix it").encode(TypeSpelling::Colons).unwrap();
    let wire: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(wire["type"], "task:submit");
    let payload = &wire["payload"];
    for text in [
        "taskId",
        "projectId",
        "botName",
        "command",
        "prompt",
        "systemPrompt",
        "localPath",
        "model",
    ] {
        assert!(payload[text].is_string(), "{text}");
    }
    assert!(payload["maxBudget"].is_number() && payload["allowedTools"].is_array());
    let context = payload["slackContext"].as_object().unwrap();
    assert!(context.contains_key("threadTs") && context["threadTs"].is_null());
    assert!(payload.get("resumeSessionId").is_none());
}

#[test]
fn a_message_that_agents_or_api_gateway_would_refuse_is_not_sent() {
    let code = |prompt: &str| {
        submit(prompt)
            .encode(TypeSpelling::Canonical)
            .map_err(|e| e.code())
    };
    assert_eq!(code(""), Err("UNSENDABLE_MESSAGE"));
    assert_eq!(code(&"x".repeat(100_001)), Err("UNSENDABLE_MESSAGE"));
    assert!(code(&"x".repeat(100_000)).is_ok());
    // 100 000 characters that are two bytes each do not fit in 128 KB.
    assert_eq!(code(&"ä".repeat(100_000)), Err("MESSAGE_TOO_LARGE"));
}

#[test]
fn a_key_is_never_printed() {
    let payload = json!({"agentId": "a", "apiKey": "bm_secret", "version": "1"});
    let message = from_agent("AUTH_REQUEST", &payload).unwrap();
    assert!(!format!("{message:?}").contains("bm_secret"));
}

proptest! {
    #[test]
    fn no_text_panics_the_reader(text in ".{0,200}") {
        let _ = decode::<AgentMessage>(&text);
        let _ = decode::<AgentMessage>(&wire("TASK_STREAM", &json!({"taskId": TASK, "delta": text})));
    }

    #[test]
    fn what_is_written_is_read_back(prompt in ".{1,300}", colons: bool) {
        let envelope = submit(&prompt);
        let spelling = if colons { TypeSpelling::Colons } else { TypeSpelling::Canonical };
        let text = envelope.encode(spelling).unwrap();
        prop_assert_eq!(decode::<CloudMessage>(&text).unwrap(), (envelope, spelling));
    }
}

#[test]
fn measurements_are_rounded_to_what_can_be_stored() {
    let cost = |cost: &str| {
        let text = wire(
            "TASK_COMPLETE",
            &json!({ "taskId": TASK, "result": "", "estimatedCost": 0 }),
        );
        let text = text.replace("\"estimatedCost\":0", &format!("\"estimatedCost\":{cost}"));
        match decode::<AgentMessage>(&text).unwrap().0.message {
            AgentMessage::TaskComplete(it) => it.estimated_cost.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(cost("1e-200"), "0");
    assert_eq!(
        cost("0.1234567890123456789012345678901234567890"),
        "0.123456789"
    );
    assert_eq!(cost("999999999.5"), "999999999.5");
    assert_eq!(cost("0.5"), "0.5");
    let progress = json!({ "taskId": TASK, "progress": 1e-200 });
    let Ok(AgentMessage::TaskProgress(progress)) = from_agent("TASK_PROGRESS", &progress) else {
        panic!("no progress")
    };
    assert_eq!(progress.progress, Some(0.0));
}

/// Asserts of any text that it is parsed or refused: an error is short, can be printed and quotes nothing
/// of the text, and what was parsed can be written and parsed again.
fn assert_decodes<M: MessageEnum + PartialEq + std::fmt::Debug>(text: &str) {
    match decode::<M>(text) {
        Err(error) => {
            let shown = error.to_string();
            assert!(
                shown.len() < 1000 && !shown.contains(char::is_control),
                "{shown:?}"
            );
            assert!(!shown.contains("s3cret"), "{shown:?}");
        }
        Ok((envelope, spelling)) => {
            // Escaped, a message may be longer than it was.
            if let Ok(written) = envelope.encode(spelling) {
                assert_eq!(decode::<M>(&written), Ok((envelope, spelling)));
            }
        }
    }
}

/// Returns examples of messages that carry a secret wherever a text is allowed.
fn examples() -> Vec<Value> {
    let messages = minimal()
        .into_iter()
        .flat_map(|(canonical, colons, payload)| {
            [canonical, colons].map(|kind| {
            json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": 1, "x": "s3cret" })
        })
        });
    let secret = json!("s3cret");
    let full = [
        (
            "TASK_COMPLETE",
            json!({ "taskId": TASK, "attempt": 1, "result": secret, "sessionId": secret,
            "inputTokens": 1, "estimatedCost": 0.5, "filesChanged": [secret], "commandsRun": [secret],
            "attachmentResults": { "a": secret }, "model": secret }),
        ),
        (
            "TASK_PROGRESS",
            json!({ "taskId": TASK, "progress": 5, "message": secret, "steps": [secret],
            "type": "tool_use", "timestamp": 1 }),
        ),
        (
            "AGENT_STATUS",
            json!({ "agentId": "a", "status": "busy", "activeTasks": [TASK], "capacity": 3,
            "version": secret, "resourceStatus": { "healthScore": 1, "memoryUsagePercent": 2,
            "cpuUsagePercent": 3, "canAcceptTasks": true } }),
        ),
        (
            "TASK_SUBMIT",
            json!({ "taskId": TASK, "projectId": secret, "botName": "b", "command": "run",
            "prompt": secret, "systemPrompt": "", "localPath": "/", "model": "m", "maxBudget": 1,
            "allowedTools": [secret], "slackContext": { "channelId": "C1", "threadTs": null,
            "userId": "U1" } }),
        ),
        (
            "AUTH_RESPONSE",
            json!({ "success": false, "error": secret }),
        ),
        (
            "SYSTEM_ERROR",
            json!({ "code": "X", "message": secret, "messageId": "m" }),
        ),
    ];
    let full = full.map(
        |(kind, payload)| json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": 1 }),
    );
    messages.chain(full).collect()
}

#[test]
fn a_number_is_the_same_after_it_was_passed_on() {
    let number = format!("1.{}", "3".repeat(290));
    let text = format!(
        r#"{{"id":"m1","type":"TASK_COMPLETE","timestamp":1,"payload":{{"taskId":"{TASK}","result":"x","attachmentResults":{number}}}}}"#
    );
    assert_decodes::<AgentMessage>(&text);
}

#[test]
fn fuzz_the_agents_messages() {
    let examples = examples();
    fuzz!(
        |source| json_like(source, &examples, &["s3cret"; 8]),
        |text| assert_decodes::<AgentMessage>(text)
    );
}

#[test]
fn fuzz_the_clouds_messages() {
    let examples = examples();
    fuzz!(
        |source| json_like(source, &examples, &["s3cret"; 8]),
        |text| assert_decodes::<CloudMessage>(text)
    );
}
