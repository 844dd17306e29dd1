//! An agent that is broken and repaired, from its first failure to the last of what waited for it.

use std::fs;

use bematic::breaker::BreakerConfig;
use futures::future::join_all;

use crate::harness::{Program, Test};

/// Failures that open a breaker with the usual settings.
const FAILURES: usize = 10;
/// Successes that close it.
const SUCCESSES: usize = 3;

/// Fails unless the tasks wait for the test's agent, none of them tried yet.
async fn all_wait(test: &Test, tasks: &[String]) {
    let waits = format!("Waiting for agent {}", test.agent_id);
    for task in tasks {
        let status = test.channel.command(&format!("/bm status {task}")).await;
        assert!(status.contains(&waits), "{status}");
    }
}

#[tokio::test]
async fn one_recovery_timeout_and_three_tasks_close_the_breaker_of_a_repaired_agent() {
    let test = Test::new("repaired").await;
    // Far longer than it takes to see that tasks wait; all else is as the rules have it.
    test.configure_breaker(|_| BreakerConfig {
        recovery_timeout_ms: 30_000,
        ..BreakerConfig::default()
    })
    .await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let part = elsewhere.path().join("spare-part");
    let command = format!(
        r#"sh -c 'test -e "{}" || {{ echo a part is missing >&2; exit 1; }}; echo works again'"#,
        part.display()
    );
    let _agent = Program::start(&test, &command);
    let prompts: Vec<_> = (1..=FAILURES).map(|n| format!("break {n}")).collect();
    join_all(prompts.iter().map(|prompt| test.channel.run(prompt))).await;
    let opened = test.breaker_is("open").await;
    assert_eq!(
        opened.window.kept_outcomes().count(),
        FAILURES,
        "{opened:#?}"
    );

    let health = format!("/bm health {}", test.agent_id);
    let answer = test.channel.command(&health).await;
    assert!(answer.contains("*open*"), "{answer}");

    let mut behind = Vec::new();
    for number in 1..=SUCCESSES {
        behind.push(test.channel.run(&format!("work {number}")).await);
    }
    all_wait(&test, &behind).await;
    let still = test.breaker().await;
    assert_eq!(
        still.version, opened.version,
        "tried before it was repaired"
    );

    fs::write(&part, "here it is").expect("a file");
    // Slack is told some seconds later; until the timeout is over it stays open.
    let told = test.told_operations(1).await;
    told[0].tells(&["10 of 10 tasks failed", "a part is missing"]);
    assert_eq!(told[0].buttons, ["breaker_reset"]);
    for task in &behind {
        let card = test.channel.card(task, "Completed").await;
        card.tells(&["works again"]);
    }
    let closed = test.breaker_is("closed").await;
    // It opened, was tried and closed, each once: no other recovery and no other task was needed.
    assert_eq!((closed.incidents, closed.generation), (1, 3), "{closed:#?}");
    let told = test.told_operations(2).await;
    assert!(told[1].buttons.is_empty(), "{told:#?}");
    let answer = test.channel.command(&health).await;
    assert!(answer.contains("*closed*"), "{answer}");
}
