use std::time::Duration;

use bematic::{
    agent::Project,
    command::Command,
    handlers::{event::SocketEvent, message::MessageRouter},
    task::{Task, TaskState},
};
use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::CloudMessage,
    time::Clock,
};
use fake_aws::FailurePoint;
use serde_json::{Value, json};

use crate::world::{AGENT, World, agent_id, connection, event, execute, wire};

fn error_code(answers: &[CloudMessage]) -> Option<&str> {
    answers.iter().find_map(|answer| match answer {
        CloudMessage::SystemError(error) => Some(&*error.code),
        _ => None,
    })
}

fn is_confirmed(answers: &[CloudMessage]) -> bool {
    answers
        .iter()
        .any(|answer| matches!(answer, CloudMessage::MessageAck(_)))
}

fn complete(task: &Task) -> Value {
    json!({ "taskId": task.id, "attempt": 1, "result": "done" })
}

/// The message that reports each kind of thing about a task.
fn reports(id: TaskId) -> [(&'static str, Value); 6] {
    let all = [
        ("TASK_ACK", json!({ "accepted": true })),
        ("TASK_PROGRESS", json!({ "progress": 5 })),
        ("TASK_STREAM", json!({ "delta": "x", "seq": 0 })),
        ("TASK_COMPLETE", json!({ "result": "done" })),
        ("TASK_ERROR", json!({ "error": "no" })),
        ("TASK_CANCELLED", json!({})),
    ];
    all.map(|(kind, mut payload)| {
        payload["taskId"] = json!(id);
        payload["attempt"] = json!(1);
        (kind, payload)
    })
}

#[tokio::test]
async fn every_heartbeat_is_answered_and_one_a_minute_is_stored_in_whichever_environment() {
    for environments in [1, 2, 30] {
        let world = World::new().await;
        world.connect("c").await;
        let routers: Vec<_> = (0..environments).map(|_| world.router()).collect();
        let connected_at = Some(world.time.now());
        world.time.pass(Duration::from_mins(1));
        let mut writes = 0;
        for beat in 0..30 {
            world.time.pass(Duration::from_secs(20));
            world.calls.take();
            let body = wire("HEARTBEAT_PING", &json!({}), world.time.now());
            let event = SocketEvent {
                connected_at,
                ..event("c", true, body)
            };
            routers[beat % environments].handle(event).await;
            let answers = world.out.take_sent();
            assert!(
                matches!(&answers[..], [(_, CloudMessage::HeartbeatPong(pong))] if pong.server_time.is_some())
            );
            let calls = world.calls.take();
            let answer = ["PostToConnection c"];
            let with_a_write = ["UpdateItem AgentsTable", "PostToConnection c"];
            assert!(calls == answer || calls == with_a_write, "{calls:?}");
            writes += calls.len() - 1;
        }
        assert_eq!(writes, 10, "one a minute, in {environments} environments");
    }
}

#[tokio::test]
async fn output_costs_one_write_and_a_message_each_flush_interval() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let router = world.router();
    let delta = |seq: u64| json!({ "taskId": task.id, "attempt": 1, "delta": "x", "seq": seq });
    world.say_to(&router, "c", "TASK_STREAM", delta(0)).await;
    world.calls.take();
    for seq in 1..10 {
        world.say_to(&router, "c", "TASK_STREAM", delta(seq)).await;
    }
    assert_eq!(world.calls.take(), ["PutItem TasksTable"; 9]);
    world.time.pass(Duration::from_secs(3));
    world.say_to(&router, "c", "TASK_STREAM", delta(10)).await;
    assert_eq!(
        world.calls.take(),
        ["PutItem TasksTable", "SendMessage NotificationsQueue"]
    );
}

#[tokio::test]
async fn an_acknowledgement_costs_a_read_a_write_and_a_message_whatever_the_projects_lease() {
    for lease in [None, Some(60), Some(600)] {
        let world = World::new().await;
        let project = world.project();
        let project = Project {
            lease_secs: lease,
            ..project
        };
        world.set_project(&project).await;
        let task = world.dispatched().await;
        let router = world.router();
        world
            .say_to(&router, "c", "HEARTBEAT_PING", json!({}))
            .await;
        world.calls.take();
        let ack = json!({ "taskId": task.id, "attempt": 1, "accepted": true });
        world.say_to(&router, "c", "TASK_ACK", ack).await;
        assert_eq!(
            world.calls.take(),
            [
                "BatchGetItem AgentsTable TasksTable",
                "PutItem TasksTable",
                "SendMessage NotificationsQueue"
            ]
        );
        let begun = world.store.task(task.id).unwrap();
        assert_eq!(begun.state.name(), "processing");
        let lease = Duration::from_secs(lease.unwrap_or(30 * 60));
        assert_eq!(begun.timer, Some(world.time.now() + lease));
    }
}

/// An environment that knows the connection and has seen its task begin.
async fn begun() -> (World, MessageRouter, Task) {
    let world = World::new().await;
    let task = world.dispatched().await;
    let router = world.router();
    world
        .say_to(&router, "c", "HEARTBEAT_PING", json!({}))
        .await;
    let ack = json!({ "taskId": task.id, "attempt": 1, "accepted": true });
    world.say_to(&router, "c", "TASK_ACK", ack).await;
    (world, router, task)
}

#[tokio::test]
async fn a_completion_is_stored_frees_the_slot_and_is_confirmed() {
    let (world, router, task) = begun().await;
    world.out.take_dispatched();
    world.out.take_notified();
    world.calls.take();
    let answers = world
        .say_to(&router, "c", "TASK_COMPLETE", complete(&task))
        .await;
    assert!(is_confirmed(&answers));
    assert_eq!(
        world.calls.take(),
        [
            "TransactWriteItems TasksTable AgentsTable",
            "SendMessage DispatchQueue",
            "PostToConnection c"
        ]
    );
    assert_eq!(world.out.to_show(), [task.id]);
    assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
    assert_eq!(world.store.task(task.id).unwrap().state.name(), "completed");
}

#[tokio::test]
async fn a_cost_that_dynamodb_does_not_take_is_rounded_and_the_task_completed() {
    let (world, router, task) = begun().await;
    let mut message = complete(&task);
    message["estimatedCost"] = json!(1e-200);
    let answers = world.say_to(&router, "c", "TASK_COMPLETE", message).await;
    assert!(is_confirmed(&answers));
    assert_eq!(world.store.task(task.id).unwrap().state.name(), "completed");
}

#[tokio::test]
async fn every_terminal_message_costs_one_transaction_where_the_task_is_cached() {
    let expected = [
        "TransactWriteItems TasksTable AgentsTable",
        "SendMessage DispatchQueue",
        "PostToConnection c",
    ];
    for (kind, fault, end) in [
        ("TASK_ERROR", "agent", "failed"),
        ("TASK_ERROR", "task", "failed"),
        ("TASK_CANCELLED", "", "cancelled"),
    ] {
        let (world, router, task) = begun().await;
        if end == "cancelled" {
            execute(&world, Command::Cancel(task.id)).await;
        }
        world.out.take_dispatched();
        world.out.take_notified();
        world.calls.take();
        let mut payload = json!({ "taskId": task.id, "attempt": 1 });
        if kind == "TASK_ERROR" {
            payload["error"] = json!("broken");
            payload["fault"] = json!(fault);
        }
        let answers = world.say_to(&router, "c", kind, payload).await;
        assert!(is_confirmed(&answers));
        let mut calls = world.calls.take();
        if end == "cancelled" {
            // The request to cancel was written in another environment: the task is read first.
            assert_eq!(calls.remove(0), "BatchGetItem AgentsTable TasksTable");
        }
        assert_eq!(calls, expected);
        assert_eq!(world.out.to_show(), [task.id]);
        assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
        assert_eq!(world.store.task(task.id).unwrap().state.name(), end);
    }
}

#[tokio::test]
async fn a_report_costs_one_write_where_the_task_is_cached_and_shares_a_refresh() {
    let (world, router, task) = begun().await;
    world.calls.take();
    let step = json!({ "taskId": task.id, "attempt": 1, "progress": 5 });
    world.say_to(&router, "c", "TASK_PROGRESS", step).await;
    assert_eq!(world.calls.take(), ["PutItem TasksTable"]);
    // An environment that has not seen it begin makes sure, once, and has it shown.
    let other = world.router();
    world.say_to(&other, "c", "HEARTBEAT_PING", json!({})).await;
    world.calls.take();
    let delta = |seq: u64| json!({ "taskId": task.id, "attempt": 1, "delta": "x", "seq": seq });
    world.say_to(&other, "c", "TASK_STREAM", delta(0)).await;
    world.say_to(&other, "c", "TASK_STREAM", delta(1)).await;
    assert_eq!(
        world.calls.take(),
        [
            "BatchGetItem AgentsTable TasksTable",
            "PutItem TasksTable",
            "SendMessage NotificationsQueue",
            "PutItem TasksTable"
        ]
    );
}

#[tokio::test]
async fn a_completion_costs_one_read_more_where_the_task_is_not_cached() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let router = world.router();
    world
        .say_to(&router, "c", "HEARTBEAT_PING", json!({}))
        .await;
    world.calls.take();
    // It was never seen to begin.
    world
        .say_to(&router, "c", "TASK_COMPLETE", complete(&task))
        .await;
    assert_eq!(
        world.calls.take()[..3],
        [
            "BatchGetItem AgentsTable TasksTable",
            "TransactWriteItems TasksTable AgentsTable",
            "SendMessage DispatchQueue"
        ]
    );
    assert_eq!(world.store.task(task.id).unwrap().state.name(), "completed");
}

#[tokio::test]
async fn every_message_twice_and_in_any_order_ends_alike() {
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]];
    for order in orders {
        let world = World::new().await;
        let task = world.dispatched().await;
        let reports = reports(task.id);
        for index in order {
            let (kind, payload) = &reports[index];
            for _ in 0..2 {
                let answers = world.say("c", kind, payload.clone()).await;
                assert_eq!(error_code(&answers), None, "{kind} in {order:?}");
                assert_eq!(is_confirmed(&answers), *kind == "TASK_COMPLETE");
            }
        }
        assert_eq!(
            world.store.task(task.id).unwrap().state.name(),
            "completed",
            "{order:?}"
        );
        assert_eq!(world.store.whole_output(task.id, Attempt::FIRST), "x");
        assert_eq!(world.store.step_count(), 1);
        assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
    }
}

#[tokio::test]
async fn a_failure_at_any_call_loses_nothing_once_the_agent_repeats() {
    let of = |index: usize| [false, true].map(|begun| (index, begun));
    for (index, has_begun) in (0..6).flat_map(of) {
        for when in [FailurePoint::Before, FailurePoint::After] {
            for n in 0.. {
                let (world, task) = if has_begun {
                    let (world, _, task) = begun().await;
                    (world, task)
                } else {
                    let world = World::new().await;
                    let task = world.dispatched().await;
                    (world, task)
                };
                let (kind, payload) = reports(task.id)[index].clone();
                if has_begun && kind == "TASK_CANCELLED" {
                    execute(&world, Command::Cancel(task.id)).await;
                }
                world.calls.fail(n, when);
                let answers = world.say("c", kind, payload.clone()).await;
                if world.calls.unused_failure() {
                    break;
                }
                let must_not_be_lost =
                    ["TASK_COMPLETE", "TASK_ERROR", "TASK_CANCELLED"].contains(&kind);
                assert!(
                    !is_confirmed(&answers) || !must_not_be_lost || n > 0,
                    "{kind} {n} ({when:?})"
                );
                world.out.take_notified();
                world.out.take_dispatched();
                // Within 5 min SQS would drop what it was sent before.
                world.time.pass(Duration::from_mins(5));
                let answers = world.say("c", kind, payload).await;
                assert_eq!(error_code(&answers), None, "{kind} {n} ({when:?})");
                assert_eq!(
                    is_confirmed(&answers),
                    must_not_be_lost,
                    "{kind} {n} ({when:?})"
                );
                assert!(
                    world.out.to_show().contains(&task.id),
                    "{kind} {n} ({when:?}): nobody told Slack"
                );
                let state = world.store.task(task.id).unwrap().state;
                assert_ne!(state.name(), "dispatched", "{kind} {n} ({when:?})");
                if state.is_terminal() {
                    assert!(
                        !world.out.take_dispatched().is_empty(),
                        "{kind} {n} ({when:?}): slot not used"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn an_agent_reports_only_on_its_own_tasks() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.add_agent("thief").await;
    world.out.open("t");
    let before = world.store.task(task.id);
    for (kind, payload) in reports(task.id) {
        let mut event = event("t", false, wire(kind, &payload, world.time.now()));
        event.agent_id = Some("thief".parse().unwrap());
        world.router().handle(event).await;
        let answers: Vec<_> = world
            .out
            .take_sent()
            .into_iter()
            .map(|(_, answer)| answer)
            .collect();
        assert_eq!(error_code(&answers), Some("NOT_YOUR_TASK"), "{kind}");
        assert_eq!(world.store.task(task.id), before, "{kind}");
    }
    assert_eq!(world.store.step_count(), 0);
    assert_eq!(world.store.whole_output(task.id, Attempt::FIRST), "");
}

#[tokio::test]
async fn messages_about_unknown_tasks_are_refused_and_terminal_ones_confirmed() {
    let world = World::new().await;
    world.connect("c").await;
    for (kind, payload) in reports(TaskId::new(uuid::Uuid::from_u128(99))) {
        let answers = world.say("c", kind, payload).await;
        assert_eq!(error_code(&answers), Some("UNKNOWN_TASK"), "{kind}");
        let terminal = ["TASK_COMPLETE", "TASK_ERROR", "TASK_CANCELLED"].contains(&kind);
        assert_eq!(is_confirmed(&answers), terminal, "{kind}");
    }
    assert!(world.store.all_tasks().is_empty());
}

#[tokio::test]
async fn an_agent_cannot_send_messages_for_another() {
    let world = World::new().await;
    world.connect("c").await;
    world.add_agent("other").await;
    let claims = [
        (
            "AGENT_STATUS",
            json!({ "agentId": "other", "status": "offline", "activeTasks": [] }),
        ),
        (
            "HEARTBEAT_PONG",
            json!({ "agentId": "other", "serverTime": 1, "activeTasks": 0, "cpuUsage": 0, "memoryUsage": 0 }),
        ),
    ];
    for (kind, payload) in claims {
        let answers = world.say("c", kind, payload).await;
        assert_eq!(error_code(&answers), Some("AGENT_MISMATCH"), "{kind}");
    }
    let auth = json!({ "agentId": "other", "apiKey": world.key.expose(), "version": "1" });
    let answers = world.say("c", "AUTH_REQUEST", auth).await;
    assert_eq!(error_code(&answers), Some("ALREADY_AUTHENTICATED"));
    assert!(world.out.closed().is_empty());
}

#[tokio::test]
async fn an_invalid_message_is_answered_with_an_error_and_closes_nothing() {
    let world = World::new().await;
    world.connect("c").await;
    let long = format!(
        r#"{{"id":"m9","type":"{}","payload":{{}},"timestamp":1}}"#,
        "X".repeat(500)
    );
    for (text, code, id) in [
        ("{", "INVALID_JSON", None),
        (r#"{"id":"m9"}"#, "INVALID_ENVELOPE", Some("m9")),
        (&*long, "UNKNOWN_MESSAGE_TYPE", Some("m9")),
    ] {
        world
            .router()
            .handle(event("c", true, text.to_owned()))
            .await;
        let sent = world.out.take_sent();
        let [(_, CloudMessage::SystemError(error))] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(
            (
                &*error.code,
                error
                    .message_id
                    .as_ref()
                    .map(bematic_protocol::ids::MessageId::as_str)
            ),
            (code, id)
        );
    }
    assert!(world.out.closed().is_empty());
}

#[tokio::test]
async fn an_unbound_connection_gets_an_error_and_is_closed() {
    let wrong =
        json!({ "agentId": AGENT, "apiKey": format!("bm_{}", "0".repeat(64)), "version": "1" });
    for body in [
        wire("AUTH_REQUEST", &wrong, World::new().await.time.now()),
        wire("HEARTBEAT_PING", &json!({}), World::new().await.time.now()),
        "not json".to_owned(),
    ] {
        let world = World::new().await;
        world
            .on_connect(&event("c", false, String::new()))
            .await
            .unwrap();
        let answers = world.say_in_band(&world.router(), "c", body.clone()).await;
        let [CloudMessage::AuthResponse(answer)] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert!(!answer.success && answer.error.is_some(), "{body}");
        assert!(world.out.closed().contains(&connection("c")), "{body}");
        assert_eq!(world.store.agent(&agent_id()).unwrap().connection, None);
    }
}

#[tokio::test]
async fn an_internal_error_does_not_refuse_a_connection() {
    let world = World::new().await;
    world
        .on_connect(&event("c", false, String::new()))
        .await
        .unwrap();
    let request = json!({ "agentId": AGENT, "apiKey": world.key.expose(), "version": "1" });
    let body = wire("AUTH_REQUEST", &request, world.time.now());
    world.calls.fail_at(0);
    let answers = world.say_in_band(&world.router(), "c", body.clone()).await;
    assert_eq!(error_code(&answers), Some("STORE_UNAVAILABLE"));
    assert!(world.out.closed().is_empty());
    let answers = world.say_in_band(&world.router(), "c", body).await;
    assert!(matches!(&answers[..], [CloudMessage::AuthResponse(answer)] if answer.success));
}

#[tokio::test]
async fn an_agent_reports_its_capacity() {
    let world = World::new().await;
    world.connect("c").await;
    let status = json!({ "agentId": AGENT, "status": "online", "activeTasks": [], "capacity": 2 });
    world.say("c", "AGENT_STATUS", status).await;
    for n in 0..4 {
        world.run("work", &format!("r{n}")).await;
    }
    world.dispatch_all().await;
    assert_eq!(world.store.agent(&agent_id()).unwrap().held.len(), 2);
    let pending = |task: &Task| matches!(task.state, TaskState::Pending { .. });
    assert_eq!(
        world
            .store
            .all_tasks()
            .iter()
            .filter(|task| pending(task))
            .count(),
        2
    );
}

#[tokio::test]
async fn a_late_offline_status_over_an_older_connection_does_not_mark_the_agent_offline() {
    let world = World::new().await;
    world.connect("old").await;
    world.time.pass(Duration::from_secs(1));
    world.connect("new").await;
    let farewell = json!({ "agentId": AGENT, "status": "offline", "activeTasks": [] });
    world.say("old", "AGENT_STATUS", farewell).await;
    assert!(
        world
            .store
            .agent(&agent_id())
            .unwrap()
            .connection_for_dispatch()
            .is_some()
    );
}
