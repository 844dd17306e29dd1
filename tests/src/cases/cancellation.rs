//! Tasks that an operator stops.

use serde_json::json;

use crate::harness::{Program, Test, TypeSpelling, eventually};

#[tokio::test]
async fn a_waiting_task_is_cancelled_at_once_and_leaves_the_queue() {
    let test = Test::new("cancel-waiting").await;
    let (first, second) = (
        test.channel.run("never mind").await,
        test.channel.run("nor this").await,
    );
    let card = test.channel.card(&first, "Waiting for agent").await;
    test.channel.press(&card, "cancel").await;
    let card = test.channel.card(&first, "Cancelled").await;
    let user = &test.stack.admin_user_id;
    card.tells(&[&format!("<@{user}> asked for it")]);
    assert_eq!(card.buttons, ["retry"]);
    let answer = test.channel.command(&format!("/bm cancel {second}")).await;
    assert!(
        answer.contains(&format!("`{second}` is cancelled")),
        "{answer}"
    );
    test.channel.card(&second, "Cancelled").await;

    let mut agent = test.connect().await;
    let third = test.channel.run("but this").await;
    let task = agent.accept_next_offer().await;
    assert_eq!(task.id, third);
    agent.complete(&task, "done").await;
    test.channel.card(&third, "Completed").await;
    assert!(agent.unread("TASK_SUBMIT").is_empty());
}

#[tokio::test]
async fn an_agent_is_told_to_stop_and_confirms_it() {
    let test = Test::new("cancel-command").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("stop me").await;
    let task = agent.accept_next_offer().await;
    test.channel.card(&id, "Running on agent").await;
    let answer = test.channel.command(&format!("/bm cancel {id}")).await;
    assert!(answer.contains("is told to stop"), "{answer}");

    let user = &test.stack.admin_user_id;
    let reason = agent.expect_cancel(&id).await;
    assert!(reason.contains(user.as_str()), "{reason}");
    let message = agent
        .send(
            "TASK_CANCELLED",
            task.reply_payload(json!({ "reason": reason })),
        )
        .await;
    agent.expect_confirmation(&message).await;
    let card = test.channel.card(&id, "Cancelled").await;
    card.tells(&[&format!("<@{user}> asked for it")]);
    card.hides(&["has not confirmed"]);
    let answer = test.channel.command(&format!("/bm cancel {id}")).await;
    assert!(answer.contains("is cancelled already"), "{answer}");
}

#[tokio::test]
async fn a_task_whose_agent_does_not_stop_it_is_cancelled_anyway_and_its_result_is_late() {
    let test = Test::new("cancel-ignored").await;
    let mut agent = test.connect_as(TypeSpelling::Canonical, 1).await;
    let id = test.channel.run("run on and on").await;
    let next = test.channel.run("and then this").await;
    let task = agent.accept_next_offer().await;
    let card = test.channel.card(&id, "Running on agent").await;
    test.channel.press(&card, "cancel").await;
    agent.expect_cancel(&id).await;
    let card = test.channel.card(&id, "Cancelled").await;
    card.tells(&["has not confirmed within"]);

    // Its slot is free, and whoever speaks of it is told once more.
    let second = agent.accept_next_offer().await;
    assert_eq!(second.id, next);
    agent.send_status(&test.agent_id, 5, &[&id, &next]).await;
    agent.expect_cancel(&id).await;
    agent.complete(&task, "all the same").await;
    let card = test.channel.card(&id, "Late:* attempt 1 completed").await;
    card.tells(&["Cancelled", "all the same"]);
    agent.complete(&second, "done").await;
    test.channel.card(&next, "Completed").await;
}

#[tokio::test]
async fn a_completion_that_wins_the_race_stays() {
    let test = Test::new("cancel-race").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("be quick").await;
    let task = agent.accept_next_offer().await;
    let card = test.channel.card(&id, "Running on agent").await;
    test.channel.press(&card, "cancel").await;
    agent.expect_cancel(&id).await;
    agent.complete(&task, "quick enough").await;
    let message = agent
        .send("TASK_CANCELLED", task.reply_payload(json!({})))
        .await;
    agent.expect_confirmation(&message).await;

    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["quick enough"]);
    let answer = test.channel.command(&format!("/bm cancel {id}")).await;
    assert!(answer.contains("is completed"), "{answer}");
}

#[tokio::test]
async fn the_reference_agent_ends_the_command_of_a_cancelled_task() {
    let test = Test::new("cancel-program").await;
    let agent = Program::start(&test, "sh -c 'echo $$ began; exec sleep 1000'");
    let id = test.channel.run("sleep").await;
    let card = test.channel.card(&id, "began").await;
    test.channel.press(&card, "cancel").await;
    let card = test.channel.card(&id, "Cancelled").await;
    card.hides(&["has not confirmed"]);
    eventually("the agent says so", async || {
        let ended = agent.told("task_ended");
        match ended.as_slice() {
            [end] if end["status"] == "cancelled" => Ok(()),
            _ => Err(format!("{ended:?}")),
        }
    })
    .await;
    assert!(agent.stop().await.success());
}
