//! What operators and unauthenticated clients must not send to the webhook.

use std::time::Duration;

use local_slack::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

use crate::harness::Test;

const NOTHING: &str = "No task yet";

#[tokio::test]
async fn a_prompt_that_no_agent_could_be_sent_makes_no_task() {
    let test = Test::new("oversized").await;
    let too_long = "x".repeat(100_001);
    let answer = test.channel.command(&format!("/bm run {too_long}")).await;
    assert!(answer.contains("100001 characters"), "{answer}");
    let too_large = "ä".repeat(100_000);
    let answer = test.channel.command(&format!("/bm run {too_large}")).await;
    assert!(
        answer.contains("KB") && answer.contains("Shorten it"),
        "{answer}"
    );
    let tasks = test.channel.command("/bm tasks").await;
    assert!(tasks.contains(NOTHING), "{tasks}");

    let mut agent = test.connect().await;
    let longest = "x".repeat(100_000);
    test.channel.run(&longest).await;
    let task = agent.accept_next_offer().await;
    assert_eq!(task.payload["prompt"], longest);
    agent.complete(&task, "read it all").await;
    test.channel.card(&task.id, "Completed").await;
}

#[tokio::test]
async fn commands_that_make_no_sense_are_explained() {
    let test = Test::new("nonsense").await;
    for (command, explanation) in [
        ("/bm run", "Say what to do"),
        ("/bm run   ", "Say what to do"),
        ("/bm run --colour red paint", "no option"),
        (
            "/bm run --agent nobody-here paint",
            "There is no agent `nobody-here`",
        ),
        ("/bm run --agent", "Say which agent"),
        ("/bm status", "Say which task"),
        ("/bm status 42", "is not a task's id"),
        (
            "/bm status 0198c0de-0000-7000-8000-000000000000",
            "There is no task",
        ),
        ("/bm statsu", "Did you mean `/bm status`?"),
        ("/bm dance", "There is no command `dance`"),
    ] {
        let answer = test.channel.command(command).await;
        assert!(answer.contains(explanation), "{command}: {answer}");
    }
    let tasks = test.channel.command("/bm tasks").await;
    assert!(tasks.contains(NOTHING), "{tasks}");
    assert!(test.channel.messages().await.is_empty());
}

#[tokio::test]
async fn a_task_of_another_channel_is_not_told_of() {
    let (test, other) = (Test::new("secret").await, Test::new("curious").await);
    let id = test.channel.run("keep this secret").await;
    let answer = other.channel.command(&format!("/bm status {id}")).await;
    assert!(answer.contains("There is no task"), "{answer}");
    assert!(!answer.contains("secret"), "{answer}");
}

#[tokio::test]
async fn requests_that_are_not_slacks_are_refused_and_nothing_is_stored() {
    let test = Test::new("forged").await;
    let request = |age| {
        test.webhook
            .command("run do evil", "forged", Duration::from_secs(age))
    };
    let mut forged = request(0);
    forged.body = forged.body.replace("evil", "harm");
    let stale = request(301);
    let mut unsigned = request(0);
    unsigned.headers.remove(SIGNATURE_HEADER);
    let mut undated = request(0);
    undated.headers.remove(TIMESTAMP_HEADER);
    let mut garbled = request(0);
    garbled
        .headers
        .insert(TIMESTAMP_HEADER, "yesterday".to_owned());
    let mut mention = test.webhook.mention("do evil", "EvForged");
    let signature = format!("v0={}", "0".repeat(64));
    mention.headers.insert(SIGNATURE_HEADER, signature);
    for (request, code) in [
        (forged, "SLACK_SIGNATURE_MISMATCH"),
        (stale, "SLACK_TIMESTAMP_STALE"),
        (unsigned, "SLACK_SIGNATURE_MISSING"),
        (undated, "SLACK_SIGNATURE_MISSING"),
        (garbled, "SLACK_TIMESTAMP_MALFORMED"),
        (mention, "SLACK_SIGNATURE_MISMATCH"),
    ] {
        let (status, body) = test.webhook.send(&request).await;
        assert_eq!(
            (status, body["error"].as_str()),
            (401, Some(code)),
            "{body}"
        );
    }
    let tasks = test.channel.command("/bm tasks").await;
    assert!(tasks.contains(NOTHING), "{tasks}");
}
