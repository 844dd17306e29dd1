//! The circuit breaker: what counts, where work goes instead, and what operators can do.

use bematic::breaker::State;
use futures::{StreamExt as _, future::join_all, stream};
use serde_json::json;

use crate::harness::{Test, TestAgent, TypeSpelling};

async fn fail(agent: &mut TestAgent, test: &Test, count: usize) {
    for n in 0..count {
        test.channel.run(&format!("fail {n}")).await;
        let task = agent.accept_next_offer().await;
        let id = agent
            .send(
                "TASK_ERROR",
                task.reply_payload(json!({ "error": "no space left" })),
            )
            .await;
        agent.expect_confirmation(&id).await;
    }
}

#[tokio::test]
async fn what_waits_behind_an_open_breaker_goes_to_another_agent_of_the_project() {
    let (test, other) = (Test::new("route-a").await, Test::new("route-b").await);
    test.configure_breaker(|_| bematic::breaker::BreakerConfig {
        recovery_timeout_ms: 600_000,
        ..bematic::breaker::BreakerConfig::default()
    })
    .await;
    let mut agent = test.connect_as(TypeSpelling::Canonical, 1).await;
    fail(&mut agent, &test, 9).await;
    test.route_to(&other).await;
    // The last one that fails, and one behind it that nobody else can have yet.
    test.channel.run("fails").await;
    let last = agent.accept_next_offer().await;
    let behind = test.channel.run("behind it").await;
    let mut second = other.connect().await;
    let id = agent
        .send("TASK_ERROR", last.reply_payload(json!({ "error": "no" })))
        .await;
    agent.expect_confirmation(&id).await;
    let moved = second.accept_next_offer().await;
    assert_eq!(moved.id, behind);
    second.complete(&moved, "done elsewhere").await;
    let card = test.channel.card(&behind, "Completed").await;
    card.tells(&[&other.agent_id]);
    // What is asked for now goes there at once.
    let next = test.channel.run("something new").await;
    assert_eq!(second.accept_next_offer().await.id, next);
}

/// An agent whose breaker has opened and is not tried again for long, and a task that waits for it.
async fn tripped(name: &str) -> (Test, TestAgent, String) {
    let test = Test::new(name).await;
    test.configure_breaker(|config| bematic::breaker::BreakerConfig {
        recovery_timeout_ms: 600_000,
        consecutive_failure_threshold: 3,
        ..config
    })
    .await;
    let mut agent = test.connect().await;
    fail(&mut agent, &test, 3).await;
    test.breaker_is("open").await;
    let waiting = test.channel.run("waits").await;
    (test, agent, waiting)
}

#[tokio::test]
async fn an_operator_resets_a_breaker_with_a_button() {
    let (test, mut agent, waiting) = tripped("reset").await;
    let told = test.told_operations(1).await;
    told[0].tells(&["3 tasks in a row failed"]);
    test.operations().press(&told[0], "breaker_reset").await;
    test.breaker_is("closed").await;
    assert_eq!(agent.accept_next_offer().await.id, waiting);
}

#[tokio::test]
async fn an_operator_resets_a_breaker_with_a_command() {
    let (test, mut agent, waiting) = tripped("reset-command").await;
    let reset = format!("/bm health reset {}", test.agent_id);
    let answer = test.channel.command(&reset).await;
    assert!(
        answer.contains(&test.agent_id) && answer.contains("closed"),
        "{answer}"
    );
    assert_eq!(agent.accept_next_offer().await.id, waiting);
    test.breaker_is("closed").await;
    test.told_operations(2).await;
}

#[tokio::test]
async fn a_task_that_is_at_fault_itself_says_nothing_about_its_agent() {
    let test = Test::new("own-fault").await;
    test.configure_breaker(|config| bematic::breaker::BreakerConfig {
        consecutive_failure_threshold: 1,
        ..config
    })
    .await;
    let mut agent = test.connect().await;
    for n in 0..2 {
        let id = test.channel.run(&format!("impossible {n}")).await;
        let task = agent.accept_next_offer().await;
        let error = json!({ "error": "there is no such branch", "fault": "task" });
        let message = agent.send("TASK_ERROR", task.reply_payload(error)).await;
        agent.expect_confirmation(&message).await;
        test.channel.status(&id, "no such branch").await;
    }
    let breaker = test.breaker().await;
    assert_eq!(breaker.state, State::Closed);
    assert_eq!(breaker.window.kept_outcomes().count(), 0, "{breaker:#?}");
    // It does not count, and can be seen.
    assert_eq!(breaker.ignored.len(), 2, "{breaker:#?}");
}

#[tokio::test]
async fn a_drained_agent_finishes_what_it_runs_and_takes_nothing_new() {
    let test = Test::new("drain").await;
    let mut agent = test.connect().await;
    let running = test.channel.run("runs").await;
    let task = agent.accept_next_offer().await;
    let drain = format!("/bm agent drain {} --for 1h new disk", test.agent_id);
    let answer = test.channel.command(&drain).await;
    assert!(answer.contains("gets nothing new"), "{answer}");
    let waiting = test.channel.run("waits").await;
    agent.complete(&task, "done").await;
    test.channel.card(&running, "Completed").await;
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("TASK_SUBMIT").is_empty());
    let health = test
        .channel
        .command(&format!("/bm health {}", test.agent_id))
        .await;
    assert!(
        health.contains("*drained*") && health.contains("new disk"),
        "{health}"
    );
    let resume = format!("/bm agent resume {}", test.agent_id);
    test.channel.command(&resume).await;
    assert_eq!(agent.accept_next_offer().await.id, waiting);
}

#[tokio::test]
async fn fifty_tasks_that_end_at_once_are_fifty_outcomes() {
    let test = Test::new("fifty-ends").await;
    let mut agent = test.connect_as(TypeSpelling::Canonical, 50).await;
    // A few at a time: each is answered within Slack's 3 s on a slow machine, too.
    stream::iter(0..50)
        .for_each_concurrent(5, async |n| {
            test.channel.run(&format!("task {n}")).await;
        })
        .await;
    let mut tasks = Vec::new();
    for _ in 0..50 {
        tasks.push(agent.accept_next_offer().await);
    }
    // The function is called at once for each, as API Gateway does: the emulator would hand over
    // the messages of one connection one after another.
    let connection = test.connections(1).await.remove(0);
    let ends = tasks.iter().enumerate().map(|(n, task)| {
        let (kind, fields) = if n % 5 == 0 {
            ("TASK_ERROR", json!({ "error": "no" }))
        } else {
            ("TASK_COMPLETE", json!({ "result": "done" }))
        };
        test.invoke_with_message(&connection, kind, task.reply_payload(fields))
    });
    join_all(ends).await;
    let breaker = test.breaker().await;
    assert_eq!(breaker.window.kept_outcomes().count(), 50);
    let failed = breaker
        .window
        .kept_outcomes()
        .filter(|it| it.kind.is_failure());
    assert_eq!(failed.count(), 10);
    assert_eq!(breaker.state, State::Closed);
}
