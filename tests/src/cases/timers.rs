//! Attempts that come to nothing, and what is heard of them later.

use serde_json::json;

use crate::harness::Test;

#[tokio::test]
async fn a_task_that_is_not_acknowledged_comes_again_as_the_next_attempt() {
    let test = Test::new("ack-deadline").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("is anybody there?").await;
    let missed = agent.expect_offer().await;
    assert_eq!((missed.id.as_str(), missed.attempt), (id.as_str(), 1));
    let status = test.channel.status(&id, "Waits until").await;
    assert!(status.contains("did not acknowledge it within"), "{status}");
    // Whether it hears the cloud at all?
    agent.answer_next_ping(&test.agent_id).await;

    let task = agent.accept_next_offer().await;
    assert_eq!((task.id.as_str(), task.attempt), (id.as_str(), 2));
    test.channel.card(&id, "Running on agent").await;
    agent.complete(&task, "here I am").await;
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["here I am"]);
    card.hides(&["did not acknowledge"]);
}

#[tokio::test]
async fn a_task_out_of_attempts_fails_with_its_last_error() {
    let test = Test::new("attempts").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("try and try").await;
    for (attempt, reason) in [(1, "the disk is full"), (2, "the disk is still full")] {
        let task = agent.expect_offer().await;
        assert_eq!((task.id.as_str(), task.attempt), (id.as_str(), attempt));
        agent.refuse(&task, reason).await;
        test.channel.status(&id, reason).await;
    }
    let last = agent.expect_offer().await;
    assert_eq!(last.attempt, 3);
    let card = test.channel.card(&id, "Failed").await;
    card.tells(&["ATTEMPTS_EXHAUSTED", "did not acknowledge it within"]);
    card.hides(&["the disk is"]);

    agent.answer_next_ping(&test.agent_id).await;
    test.channel.press(&card, "retry").await;
    let task = agent.accept_next_offer().await;
    assert_eq!((task.id.as_str(), task.attempt), (id.as_str(), 4));
    agent.complete(&task, "the disk is empty").await;
    test.channel.card(&id, "Completed").await;
}

#[tokio::test]
async fn what_an_earlier_attempt_reports_late_is_confirmed_shown_as_late_and_changes_nothing() {
    let test = Test::new("late").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("take your time").await;
    let first = agent.expect_offer().await;
    agent.answer_next_ping(&test.agent_id).await;
    let second = agent.accept_next_offer().await;
    assert_eq!((first.attempt, second.attempt), (1, 2));

    let late = json!({ "result": "the slow result" });
    let message = agent.send("TASK_COMPLETE", first.reply_payload(late)).await;
    agent.expect_confirmation(&message).await;
    let late = "Late:* attempt 1 completed: the slow result";
    test.channel
        .card(&id, late)
        .await
        .tells(&["Running on agent"]);

    agent.complete(&second, "the quick result").await;
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["*Result*\nthe quick result", late]);
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("SYSTEM_ERROR").is_empty());
}
