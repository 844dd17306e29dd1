//! Agents that stop in an orderly way.

use std::fs;

use serde_json::json;

use crate::harness::{Program, Test, eventually};

/// More than the attempts that a task has.
const HANDED_BACK: u32 = 4;

#[tokio::test]
async fn a_task_that_is_handed_back_unstarted_spends_no_attempt() {
    let test = Test::new("handed-back").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("not me").await;
    for attempt in 1..=HANDED_BACK {
        let task = agent.expect_offer().await;
        assert_eq!((task.id.as_str(), task.attempt), (id.as_str(), attempt));
        if attempt % 2 == 0 {
            agent
                .send("TASK_ACK", task.reply_payload(json!({ "accepted": true })))
                .await;
        }
        let back = json!({
            "accepted": false, "retryable": true, "spent": false, "reason": "I am leaving",
        });
        agent.send("TASK_ACK", task.reply_payload(back)).await;
    }
    let task = agent.accept_next_offer().await;
    assert_eq!(task.attempt, HANDED_BACK + 1);
    agent.complete(&task, "but me").await;
    test.channel.card(&id, "Completed").await;
}

#[tokio::test]
async fn a_stopped_agent_finishes_what_runs_and_what_has_not_begun_waits_for_its_return() {
    let test = Test::new("drained").await;
    let script = r#"read name; echo "$name" >> ran; echo "on $name"
        while [ ! -e go ]; do sleep 0.1; done; echo "done with $name""#;
    let command = format!("sh -c '{script}'");
    let mut agent = Program::start_with(&test, &command, &["--concurrency", "1"]);
    let running = test.channel.run("first").await;
    let waiting = test.channel.run("second").await;
    test.channel.card(&running, "on first").await;
    agent.ask_to_stop();
    eventually("the agent says that it stops", async || {
        let told = agent.told("draining");
        (told.len() == 1).then_some(()).ok_or(format!("{told:?}"))
    })
    .await;
    fs::write(test.folder.path().join("go"), "").expect("a file");
    let status = agent.stopped().await;
    assert!(status.success(), "{status}");
    test.channel
        .card(&running, "Completed")
        .await
        .tells(&["done with first"]);
    test.offline().await;
    test.channel.card(&waiting, "Waiting for agent").await;

    let agent = Program::start_with(&test, &command, &["--concurrency", "1"]);
    test.channel
        .card(&waiting, "Completed")
        .await
        .tells(&["done with second"]);
    let ran = fs::read_to_string(test.folder.path().join("ran")).expect("a file");
    assert_eq!(ran, "first\nsecond\n");
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_stopped_agent_says_of_what_it_had_to_end_that_it_was_stopped() {
    let test = Test::new("forced").await;
    let options = ["--drain-timeout", "1"];
    let agent = Program::start_with(&test, "sh -c 'echo on and on; exec sleep 1000'", &options);
    let id = test.channel.run("never end").await;
    test.channel.card(&id, "on and on").await;
    let status = agent.stop().await;
    assert!(status.success(), "{status}");
    let card = test.channel.card(&id, "Failed").await;
    card.tells(&["AGENT_ERROR", "the agent was stopped before the task ended"]);
    assert_eq!(card.buttons, ["retry"]);
}
