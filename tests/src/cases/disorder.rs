//! API Gateway hands messages over in any order, and any of them twice.

use serde_json::{Value, json};

use crate::harness::{Offer, Test, TestAgent};

/// All that an agent says about a task, in order.
pub(super) fn report(agent: &mut TestAgent, task: &Offer) -> Vec<Value> {
    let mut messages =
        vec![agent.build_message("TASK_ACK", &task.reply_payload(json!({ "accepted": true })))];
    for number in 1..=4 {
        let step = json!({ "steps": [format!("step {number}")], "type": "tool_use" });
        messages.push(agent.build_message("TASK_PROGRESS", &task.reply_payload(step)));
        let delta = json!({ "delta": format!("line {number}\n"), "seq": number });
        messages.push(agent.build_message("TASK_STREAM", &task.reply_payload(delta)));
    }
    let end = json!({ "result": "All good.", "durationMs": 61_000, "filesChanged": ["a.rs"] });
    messages.push(agent.build_message("TASK_COMPLETE", &task.reply_payload(end)));
    messages
}

#[tokio::test]
async fn messages_in_any_order_and_twice_make_the_same_card() {
    let test = Test::new("disorder").await;
    let mut agent = test.connect().await;
    test.channel.run("tell me").await;
    let in_order = agent.expect_offer().await;
    for message in report(&mut agent, &in_order) {
        agent.send_text(message.to_string()).await;
    }
    let expected = test.channel.card(&in_order.id, "Completed").await;
    expected.tells(&[
        "Completed in 1 min 1 s",
        "All good.",
        "step 4",
        "line 1\nline 2\nline 3",
    ]);

    test.channel.run("tell me").await;
    let backwards = agent.expect_offer().await;
    let reported = report(&mut agent, &backwards);
    for message in reported.iter().rev() {
        agent.send_text(message.to_string()).await;
        agent.send_text(message.to_string()).await;
    }
    let last = reported
        .last()
        .and_then(|message| message["id"].as_str())
        .expect("an id");
    agent.expect_confirmation(last).await;
    agent.expect_confirmation(last).await;
    let (task, other) = (&backwards.id, &in_order.id);
    test.channel.same_card(task, &expected, other).await;
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("SYSTEM_ERROR").is_empty());
}

#[tokio::test]
async fn an_ended_task_stays_as_it_ended_and_what_comes_later_is_confirmed() {
    let test = Test::new("ended").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("end once").await;
    let task = agent.accept_next_offer().await;
    agent.complete(&task, "the one result").await;
    for (kind, payload) in [
        ("TASK_COMPLETE", json!({ "result": "another result" })),
        (
            "TASK_ERROR",
            json!({ "error": "too late", "recoverable": false }),
        ),
        ("TASK_CANCELLED", json!({})),
    ] {
        let message = agent.send(kind, task.reply_payload(payload)).await;
        agent.expect_confirmation(&message).await;
    }
    let card = test.channel.card(&id, "the one result").await;
    card.tells(&["Completed"]);
    let status = test.channel.command(&format!("/bm status {id}")).await;
    assert!(
        status.contains("Completed") && status.contains("the one result"),
        "{status}"
    );
}
