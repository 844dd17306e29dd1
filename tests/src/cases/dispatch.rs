//! Who gets which task when.

use serde_json::json;

use crate::harness::{Test, TestAgent, TypeSpelling};

const TASKS: usize = 50;
const CAPACITY: usize = 5;

/// Works off all tasks, never more than it has slots for; gives them in the order of their start.
async fn work(mut agent: TestAgent) -> Vec<String> {
    let mut started = Vec::new();
    let mut held = Vec::new();
    while started.len() < TASKS || !held.is_empty() {
        // Takes as long as there may be more, and ends the oldest then.
        while held.len() < CAPACITY && started.len() < TASKS {
            let task = agent.accept_next_offer().await;
            started.push(task.id.clone());
            held.push(task);
        }
        agent.ping_and_expect_pong().await;
        assert!(
            agent.unread("TASK_SUBMIT").is_empty(),
            "more than {CAPACITY} at once"
        );
        let task = held.remove(0);
        agent.complete(&task, "done").await;
    }
    started
}

#[tokio::test]
async fn fifty_tasks_at_once_start_in_order_and_never_more_than_the_agent_takes() {
    let test = Test::new("fifty").await;
    let agent = test.connect_as(TypeSpelling::Canonical, 5).await;
    let submit = async {
        let mut ids = Vec::new();
        for number in 1..=TASKS {
            ids.push(test.channel.run(&format!("task {number}")).await);
        }
        ids
    };
    let (submitted, started) = tokio::join!(submit, work(agent));
    assert_eq!(started, submitted);
    for id in &submitted {
        test.channel.card(id, "Completed").await;
    }
}

#[tokio::test]
async fn a_task_that_is_refused_for_now_comes_back_as_the_next_attempt() {
    let test = Test::new("retry").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("not now").await;
    let task = agent.expect_offer().await;
    assert_eq!(task.attempt, 1);
    let refusal = json!({ "accepted": false, "reason": "disk is full", "retryable": true });
    agent.send("TASK_ACK", task.reply_payload(refusal)).await;
    let status = test.channel.status(&id, "Waits until").await;
    assert!(status.contains("disk is full"), "{status}");

    let again = agent.accept_next_offer().await;
    assert_eq!((again.id.as_str(), again.attempt), (id.as_str(), 2));
    agent.complete(&again, "now").await;
    test.channel.card(&id, "Completed").await;
}

#[tokio::test]
async fn a_task_that_is_refused_for_good_fails_with_the_reason() {
    let test = Test::new("refused").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("never").await;
    let task = agent.expect_offer().await;
    let refusal = json!({ "accepted": false, "reason": "no such folder", "retryable": false });
    agent.send("TASK_ACK", task.reply_payload(refusal)).await;
    test.channel
        .card(&id, "Failed")
        .await
        .tells(&["REFUSED", "no such folder"]);
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("TASK_SUBMIT").is_empty());
}

#[tokio::test]
async fn an_agent_that_is_named_in_the_command_gets_the_task() {
    let (test, other) = (Test::new("named").await, Test::new("named-other").await);
    test.route_to(&other).await;
    let mut agent = other.connect().await;
    let id = test
        .channel
        .run(&format!("--agent {} do it there", other.agent_id))
        .await;
    let task = agent.accept_next_offer().await;
    assert_eq!(
        (task.id.as_str(), &task.payload["prompt"]),
        (id.as_str(), &json!("do it there"))
    );
    agent.complete(&task, "done there").await;
    test.channel
        .card(&id, "Completed")
        .await
        .tells(&[&other.agent_id]);
}
