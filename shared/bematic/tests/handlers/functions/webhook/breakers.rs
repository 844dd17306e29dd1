//! Breakers, as operators meet them in Slack, and `GET /health` as a monitor does.

use bematic::{
    breaker::{Breaker, State},
    dead_letter::Reason,
    ports::DispatchMessage,
};
use bematic_protocol::time::Clock as _;
use fake_aws::FailurePoint;

use super::*;
use crate::world::agent_id;

/// Somebody presses the button of the operations channel.
async fn press(world: &World, value: &str) -> Response {
    let payload = json!({
        "type": "block_actions", "team": { "id": "T1" }, "user": { "id": "U7" },
        "channel": { "id": "COPS" }, "message": { "ts": "1.5" }, "trigger_id": "1.2.3",
        "actions": [{ "type": "button", "action_id": "breaker_reset", "value": value }],
    });
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &payload.to_string())
        .finish();
    post(world, "/slack/interactions", &body).await
}

fn breaker(world: &World) -> Breaker {
    world.store.breaker_of(&agent_id())
}

/// Takes the requests to dispatch the agent's queue, and returns their number.
fn dispatches(world: &World) -> usize {
    let sent = world.out.take_dispatched();
    let dispatch = DispatchMessage::agent_queue(agent_id());
    assert!(
        sent.iter()
            .all(|it| *it == (dispatch.clone(), Duration::ZERO))
    );
    sent.len()
}

#[tokio::test]
async fn the_button_resets_however_often_it_is_pressed() {
    let world = World::new().await;
    world.open_breaker("box").await;
    world.calls.take();
    let (status, body) = (200, None);
    let done = Response { status, body };
    assert_eq!(press(&world, "box").await, done);
    assert_eq!(
        world.calls.take(),
        [
            "BatchGetItem AgentsTable",
            "GetItem AgentsTable",
            "GetItem AgentsTable",
            "TransactWriteItems AgentsTable",
            "SendMessage DispatchQueue",
            "PutItem AgentsTable"
        ]
    );
    assert_eq!(
        (breaker(&world).state, dispatches(&world)),
        (State::Closed, 1)
    );
    let version = breaker(&world).version;
    assert_eq!(press(&world, "box").await, done);
    assert_eq!(
        world.calls.take(),
        [
            "BatchGetItem AgentsTable",
            "GetItem AgentsTable",
            "GetItem AgentsTable",
            "SendMessage DispatchQueue",
            "PutItem AgentsTable"
        ]
    );
    assert_eq!((breaker(&world).version, dispatches(&world)), (version, 1));
}

#[tokio::test]
async fn a_button_of_an_agent_that_is_gone_or_none_changes_nothing() {
    let world = World::new().await;
    world.open_breaker("box").await;
    for value in ["nobody", "no agent at all", ""] {
        assert_eq!(press(&world, value).await.status, 200, "{value}");
    }
    assert_eq!(dispatches(&world), 0);
    assert!(matches!(breaker(&world).state, State::Open { .. }));
}

#[tokio::test]
async fn an_order_that_fails_at_any_call_is_reported_and_executed_on_repetition() {
    /// After the role, the agent and its breaker are read.
    const RESET: usize = 3;
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            world.open_breaker("box").await;
            world.calls.fail(n, when);
            let answer = command(&world, "health reset box", "t1").await;
            if world.calls.unused_failure() {
                break;
            }
            let is_done = breaker(&world).state == State::Closed;
            // A write whose answer was lost: nobody knows that it is done.
            let expected = if is_done && (n, when) != (RESET, FailurePoint::After) {
                "whether it worked"
            } else {
                "went wrong"
            };
            assert!(answer.contains(expected), "call {n} ({when:?}): {answer}");
            world.out.take_dispatched();
            assert_eq!(
                press(&world, "box").await.status,
                200,
                "call {n} ({when:?})"
            );
            assert_eq!(
                (breaker(&world).state, dispatches(&world)),
                (State::Closed, 1)
            );

            let world = World::new().await;
            world.open_breaker("box").await;
            world.calls.fail(n, when);
            assert_eq!(
                press(&world, "box").await.status,
                503,
                "call {n} ({when:?}): shown"
            );
        }
    }
}

#[tokio::test]
async fn orders_to_breakers_are_executed_and_answered() {
    let world = World::new().await;
    for (text, expected) in [
        (
            "agent drain box --for 2h new disk",
            ":construction: `box` finishes what it runs and gets nothing new for 2 h. `/bm agent \
             resume box` ends that.",
        ),
        (
            "agent resume box",
            ":white_check_mark: `box` is controlled by its breaker again, which is closed.",
        ),
        (
            "agent resume box",
            "`box` is neither drained nor disabled: its breaker is closed.",
        ),
        (
            "health disable box",
            ":no_bell: `box` is sent tasks for 1 h, whatever the outcomes. `/bm agent resume box` \
             ends that.",
        ),
        (
            "agent drain nobody",
            "There is no agent `nobody`. Known: `box`.",
        ),
        (
            "agent drain box --fro 2h",
            "There is no option `--fro` here, only `--for &lt;time&gt;` right after the agent. If the note begins with a \
             dash, put `--` before it.",
        ),
    ] {
        assert_eq!(command(&world, text, "t").await, expected, "{text}");
    }
    let said = breaker(&world).mode.operator_override().cloned().unwrap();
    assert_eq!(said.by, "U1");
    assert_eq!(said.until, world.time.now() + Duration::from_hours(1));
}

#[tokio::test]
async fn an_expired_order_is_not_shown() {
    let world = World::new().await;
    command(&world, "agent drain box --for 30m", "t").await;
    world.time.pass(Duration::from_mins(30));
    for text in ["health", "health box"] {
        let answer = command(&world, text, "t").await;
        assert!(answer.contains("*closed*"), "{answer}");
        assert!(!answer.contains("drained"), "{answer}");
    }
}

async fn poll(world: &World) -> (u16, Value) {
    let request = Request {
        path: "/health",
        timestamp: None,
        signature: None,
        body: b"",
    };
    let response = world.webhook().handle(request).await;
    (response.status, response.body.unwrap())
}

#[tokio::test]
async fn an_agent_that_was_drained_is_not_unhealthy_and_one_that_fails_is_until_it_works() {
    let world = World::new().await;
    command(&world, "agent drain box", "t").await;
    assert_eq!(poll(&world).await.1["status"], "healthy");
    world.time.pass(Duration::from_hours(9));
    assert_eq!(poll(&world).await.1["status"], "healthy", "it has ended");
    command(&world, "agent resume box", "t").await;
    world.open_breaker("box").await;
    world.time.pass(Duration::from_mins(9));
    let (status, body) = poll(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    press(&world, "box").await;
    assert_eq!(poll(&world).await.1["status"], "healthy");
}

#[tokio::test]
async fn dead_letters_degrade_the_health_and_unreachable_queues_leave_slack_unknown() {
    let world = World::new().await;
    // After the agents: their names in four parts, and then they themselves.
    world.calls.fail_at(5);
    let (status, body) = poll(&world).await;
    assert_eq!(status, 503);
    assert_eq!(body["components"]["queues"], "unhealthy");
    assert_eq!(body["components"]["slack"], "unknown");
    assert_eq!(body["components"]["database"], "healthy");

    let reason = Reason {
        code: "SECRET".into(),
        text: "secret-reason".into(),
    };
    world.send_to_dead_letters("secret-body", &reason).await;
    let (status, body) = poll(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    assert_eq!(body["components"]["queues"], "degraded");
    assert_eq!(body["components"]["slack"], "degraded");
    assert!(!body.to_string().contains("secret"), "{body}");
}
