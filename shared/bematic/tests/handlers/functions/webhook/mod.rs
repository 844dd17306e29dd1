//! `slack-webhook`.

mod audit;
mod breakers;
mod membership;
mod roles;
mod secrets;

use std::time::Duration;

use async_trait::async_trait;
use bematic::{
    handlers::webhook::{Request, Response},
    ports::NotifyMessage,
    slack::signature::sign,
};
use bematic_protocol::time::Clock as _;
use fake_aws::{Call, Failure, FailurePoint, Hook};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::world::{AGENT, SECRET, World};

/// Sends `body` as Slack would.
async fn post(world: &World, path: &str, body: &str) -> Response {
    let timestamp = world.time.now().as_secs().to_string();
    let signature = sign(&SecretString::from(SECRET), &timestamp, body.as_bytes()).unwrap();
    let request = Request {
        path,
        timestamp: Some(&timestamp),
        signature: Some(&signature),
        body: body.as_bytes(),
    };
    world.webhook().handle(request).await
}

async fn command(world: &World, text: &str, trigger: &str) -> String {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("team_id", "T1"),
            ("channel_id", "C1"),
            ("user_id", "U1"),
            ("command", "/bm"),
            ("text", text),
            ("trigger_id", trigger),
            ("response_url", "http://127.0.0.1/r"),
        ])
        .finish();
    let response = post(world, "/slack/commands", &body).await;
    assert_eq!(response.status, 200, "{response:?}");
    let body = response.body.unwrap();
    assert_eq!(body["response_type"], "ephemeral");
    body["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_bulk_operation_that_it_created() {
    let world = World::new().await;
    let first = command(&world, "archive", "trigger").await;
    assert!(first.contains("archived"), "{first}");
    assert_eq!(command(&world, "cancel all", "trigger").await, first);
}

fn mention(channel: &str, text: &str, event_id: &str, thread: Option<&str>) -> Value {
    let mut event = json!({
        "type": "app_mention", "user": "U1", "text": text, "ts": "1700000000.000100",
        "channel": channel, "event_ts": "1700000000.000100",
    });
    if let Some(thread) = thread {
        event["thread_ts"] = json!(thread);
    }
    json!({
        "token": "x", "team_id": "T1", "api_app_id": "A1", "type": "event_callback",
        "event_id": event_id, "event_time": 1_700_000_000, "event": event,
    })
}

#[tokio::test]
async fn a_run_command_creates_a_task_and_names_it() {
    let world = World::new().await;
    let answer = command(&world, "run fix the login bug", "t1").await;
    assert_eq!(
        world.calls.take(),
        [
            "BatchGetItem AgentsTable",
            "Query TasksTable",
            "TransactWriteItems TasksTable AgentsTable",
            "SendMessage DispatchQueue",
            "PutItem AgentsTable"
        ]
    );
    let tasks = world.store.all_tasks();
    assert_eq!(tasks.len(), 1);
    assert!(
        answer.contains(&tasks[0].id.to_string()) && answer.contains(AGENT),
        "{answer}"
    );
}

#[tokio::test]
async fn a_named_agent_costs_no_more_calls_and_an_unknown_one_is_reported() {
    let world = World::new().await;
    world.add_agent("other").await;
    world.set_route("any").await;
    world.calls.take();
    let named = command(&world, "run --agent other fix it", "t1").await;
    let of_new = [
        "BatchGetItem AgentsTable",
        "Query TasksTable",
        "TransactWriteItems TasksTable AgentsTable",
        "SendMessage DispatchQueue",
        "PutItem AgentsTable",
    ];
    assert_eq!(world.calls.take(), of_new);
    assert!(named.contains("`other` has a new task"), "{named}");

    let unknown = command(&world, "run --agent nobody fix it", "t2").await;
    let of_none = [
        "BatchGetItem AgentsTable",
        "Query TasksTable",
        "TransactWriteItems TasksTable AgentsTable",
        "Query AgentsTable/list",
        "Query AgentsTable/list",
        "Query AgentsTable/list",
        "Query AgentsTable/list",
        "BatchGetItem AgentsTable",
        "PutItem AgentsTable",
    ];
    assert_eq!(world.calls.take(), of_none);
    let expected = "There is no agent `nobody`. Known: `box`, `other`.";
    assert!(unknown.contains(expected), "{unknown}");

    // A request that was heard before is the task that came of it, whoever is named now.
    let again = command(&world, "run --agent nobody fix it", "t1").await;
    assert_eq!(again, named);
    assert_eq!(world.store.all_tasks().len(), 1);
}

#[tokio::test]
async fn a_project_with_an_unknown_agent_is_reported_and_nothing_is_stored() {
    let world = World::new().await;
    world.set_route("nobody").await;
    let answer = command(&world, "run fix it", "t1").await;
    assert!(answer.contains("There is no agent `nobody`"), "{answer}");
    assert!(world.store.all_tasks().is_empty() && world.out.take_dispatched().is_empty());
    // Nothing is left of the request either: it can be made again.
    world.add_agent("nobody").await;
    let answer = command(&world, "run fix it", "t1").await;
    assert!(answer.contains("`nobody` has a new task"), "{answer}");
}

#[tokio::test]
async fn a_repeated_request_creates_nothing_twice() {
    let world = World::new().await;
    let first = command(&world, "run fix it", "t1").await;
    let again = command(&world, "run fix it", "t1").await;
    assert_eq!(first, again);
    for _ in 0..3 {
        let body = mention("C1", "<@UBOT> fix that", "Ev1", None).to_string();
        assert_eq!(post(&world, "/slack/events", &body).await.status, 200);
    }
    assert_eq!(world.store.all_tasks().len(), 2);
}

#[tokio::test]
async fn a_failure_at_any_call_is_reported_and_a_repetition_creates_one_task() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            let body = mention("C1", "<@UBOT> fix that", "Ev1", None).to_string();
            world.calls.fail(n, when);
            let response = post(&world, "/slack/events", &body).await;
            if world.calls.unused_failure() {
                break;
            }
            assert_eq!(
                response.status, 503,
                "call {n} ({when:?}): so that Slack repeats it"
            );
            world.out.take_dispatched();
            world.out.take_notified();
            assert_eq!(
                post(&world, "/slack/events", &body).await.status,
                200,
                "call {n} ({when:?})"
            );
            let tasks = world.store.all_tasks();
            assert_eq!(tasks.len(), 1, "call {n} ({when:?})");
            assert_eq!(world.out.to_show(), [tasks[0].id], "call {n} ({when:?})");
            assert_eq!(world.out.take_dispatched().len(), 1, "call {n} ({when:?})");
        }
    }
}

#[tokio::test]
async fn an_internal_error_is_reported_to_the_operator_by_its_code() {
    let world = World::new().await;
    world.calls.fail_at(0);
    let answer = command(&world, "run fix it", "t1").await;
    assert!(answer.contains("STORE_UNAVAILABLE"), "{answer}");
    assert!(!answer.contains("made to fail"), "{answer}");
}

#[tokio::test]
async fn a_value_that_dynamodb_refuses_is_not_asked_for_again() {
    let world = World::new().await;
    // A key has at most 2048 bytes.
    let answer = command(&world, "run fix it", &"9".repeat(3000)).await;
    assert!(answer.contains("STORE_REFUSED"), "{answer}");
    assert!(answer.contains("Repeating it is no help"), "{answer}");
    assert!(world.store.all_tasks().is_empty());
}

#[tokio::test]
async fn after_a_failure_of_the_queue_the_operator_is_asked_not_to_repeat_the_command() {
    let world = World::new().await;
    world.calls.fail_at(3);
    let answer = command(&world, "run fix it", "t1").await;
    assert_eq!(world.store.all_tasks().len(), 1);
    assert!(answer.contains("before you repeat it"), "{answer}");
}

/// A minute before each call to AWS.
struct Slow;

#[async_trait]
impl Hook for Slow {
    async fn before_call(&self, _: &Call) -> Option<(FailurePoint, Failure)> {
        sleep(Duration::from_mins(1)).await;
        None
    }
}

#[tokio::test(start_paused = true)]
async fn slack_is_answered_within_3_s_although_aws_is_slow() {
    let world = World::new().await;
    world.aws.add_hook(Slow);
    let answer = timeout(Duration::from_secs(3), command(&world, "run x", "t")).await;
    let answer = answer.unwrap();
    assert!(answer.contains("before you repeat it"), "{answer}");
    let body = mention("C1", "<@U0BOT> x", "Ev1", None).to_string();
    let response = timeout(Duration::from_secs(3), post(&world, "/slack/events", &body)).await;
    assert_eq!(response.unwrap().status, 503);
}

#[tokio::test]
async fn a_request_without_a_valid_signature_is_refused_and_stores_nothing() {
    let world = World::new().await;
    let now = world.time.now().as_secs();
    let body = "team_id=T1&channel_id=C1&user_id=U1&command=%2Fbm&text=run+x&trigger_id=t";
    let sign_at = |at: u64, secret: &str| {
        sign(
            &SecretString::from(secret),
            &at.to_string(),
            body.as_bytes(),
        )
        .unwrap()
    };
    for (at, signature) in [
        (now, Some(sign_at(now, "another secret"))),
        (now - 301, Some(sign_at(now - 301, SECRET))),
        (now, None),
    ] {
        let timestamp = at.to_string();
        for path in ["/slack/commands", "/slack/events", "/slack/interactions"] {
            let request = Request {
                path,
                timestamp: Some(&timestamp),
                signature: signature.as_deref(),
                body: body.as_bytes(),
            };
            assert_eq!(world.webhook().handle(request).await.status, 401, "{path}");
        }
    }
    assert_eq!(world.calls.take(), [""; 0]);
}

#[tokio::test]
async fn bad_commands_are_answered_and_store_nothing() {
    let world = World::new().await;
    let too_large = format!("run {}", "ä".repeat(100_000));
    let too_long = format!("run {}", "x".repeat(100_001));
    for (text, expected) in [
        ("run", "Say what to do"),
        ("run   ", "Say what to do"),
        ("rnu fix it", "run"),
        ("run --agent nobody fix it", "There is no agent `nobody`"),
        ("status 42", "not a task"),
        (
            "status 0198c0de-0000-7000-8000-000000000001",
            "There is no task",
        ),
        (&*too_large, "too large"),
        (&*too_long, "100001"),
    ] {
        let answer = command(&world, text, "t").await;
        assert!(
            answer.contains(expected),
            "{} -> {answer}",
            &text[..text.len().min(40)]
        );
    }
    assert!(world.store.all_tasks().is_empty());
    assert!(world.out.take_dispatched().is_empty() && world.out.take_notified().is_empty());
}

#[tokio::test]
async fn the_answer_in_a_channel_without_a_project_says_how_to_create_one() {
    let world = World::new().await;
    let body = mention("C2", "<@UBOT> fix that", "Ev1", Some("1699999999.000001")).to_string();
    assert_eq!(post(&world, "/slack/events", &body).await.status, 200);
    let told = world.out.take_notified();
    let [NotifyMessage::Reply(reply)] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(
        reply.text.contains("project create --channel C2"),
        "{reply:?}"
    );
    assert_eq!(
        reply.thread_ts.as_ref().unwrap().as_str(),
        "1699999999.000001"
    );
    assert!(world.store.all_tasks().is_empty());
}

#[tokio::test]
async fn a_mention_is_answered_in_its_thread() {
    let world = World::new().await;
    for (event, thread, expected) in [
        ("Ev1", None, "1700000000.000100"),
        ("Ev2", Some("1699999999.000001"), "1699999999.000001"),
    ] {
        let body = mention("C1", "<@UBOT> fix that", event, thread).to_string();
        post(&world, "/slack/events", &body).await;
        let task = world.store.all_tasks().pop().unwrap();
        assert_eq!(task.origin.thread_ts.unwrap().as_str(), expected);
    }
}

#[tokio::test]
async fn tasks_and_agents_are_listed() {
    let world = World::new().await;
    assert!(command(&world, "tasks", "t").await.contains("No task yet"));
    let task = world.run("fix it", "r").await;
    world.connect("c").await;
    assert!(
        command(&world, "tasks", "t")
            .await
            .contains(&task.id.to_string())
    );
    assert!(
        command(&world, &format!("status {}", task.id), "t")
            .await
            .contains("fix it")
    );
    assert!(command(&world, "agents", "t").await.contains("online"));
    assert!(command(&world, "help", "t").await.contains("/bm run"));
}

#[tokio::test]
async fn an_invalid_request_gets_an_error_status() {
    let world = World::new().await;
    assert_eq!(post(&world, "/slack/events", "{").await.status, 400);
    assert_eq!(
        post(&world, "/slack/commands", "text=run").await.status,
        400
    );
    assert_eq!(post(&world, "/elsewhere", "").await.status, 404);
    let challenge = json!({ "type": "url_verification", "challenge": "c", "token": "x" });
    let response = post(&world, "/slack/events", &challenge.to_string()).await;
    assert_eq!(response.body.unwrap()["challenge"], "c");
}
