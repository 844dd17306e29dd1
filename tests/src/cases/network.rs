//! Connections over which messages come twice, late and out of order, and that are cut.

use serde_json::json;

use super::disorder::report;
use crate::harness::{Offer, Program, Test, TestAgent, eventually};

const DISORDER: &str = "seed:42,double:1,reorder:0.5,delay:0.3";

async fn tell_all(agent: &mut TestAgent, task: &Offer) {
    for message in report(agent, task) {
        agent.send_text(message.to_string()).await;
    }
}

#[tokio::test]
async fn messages_twice_late_and_shuffled_both_ways_make_the_same_card() {
    let test = Test::new("shuffled").await;
    let mut agent = test.connect().await;
    let first = test.channel.run("tell me").await;
    let task = agent.expect_offer().await;
    tell_all(&mut agent, &task).await;
    let expected = test.channel.card(&first, "Completed").await;
    expected.tells(&["All good.", "step 4", "line 1\nline 2\nline 3"]);

    let mut agent = test.connect_disturbed(DISORDER).await;
    agent.send_status(&test.agent_id, 5, &[]).await;
    let second = test.channel.run("tell me").await;
    let task = agent.expect_offer().await;
    tell_all(&mut agent, &task).await;
    test.channel.same_card(&second, &expected, &first).await;
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("SYSTEM_ERROR").is_empty());
}

#[tokio::test]
async fn the_reference_agent_works_over_a_connection_that_disorders() {
    let test = Test::new("program-shuffled").await;
    let script = r#"for i in 1 2 3 4 5 6; do echo "$BEMATIC_LINE_PREFIX {\"step\":\"step $i.\"}"; done; echo done"#;
    let command = format!("sh -c '{script}'");
    let _agent = Program::start_at(&test.disturbed(DISORDER), &test, &command, &[]);
    let id = test.channel.run("keep order").await;
    eventually("all of it is shown, in order", async || {
        let card = test.channel.card(&id, "Completed").await;
        let at = |number: u32| card.text.find(&format!("step {number}."));
        let places: Vec<_> = (1..=6).map(at).collect();
        if places.iter().all(Option::is_some) && places.is_sorted() {
            Ok(())
        } else {
            Err(card.text)
        }
    })
    .await;
    test.channel.card(&id, "Completed").await.tells(&["done"]);
}

#[tokio::test]
async fn a_task_goes_on_after_its_connection_was_cut() {
    let test = Test::new("cut").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("go on").await;
    let task = agent.accept_next_offer().await;
    test.channel.card(&id, "Running on agent").await;

    let mut agent = test.connect_disturbed("seed:1,cut:0.2").await;
    agent.send_status(&test.agent_id, 5, &[&id]).await;
    for step in 1..=30 {
        let step = task.reply_payload(json!({ "steps": [format!("step {step}")] }));
        let message = agent.build_message("TASK_PROGRESS", &step);
        agent.send_in_frames(&message.to_string(), 1024).await;
    }
    assert_eq!(agent.expect_close().await, None);
    test.offline().await;

    let mut agent = test.connect_disturbed("").await;
    agent.send_status(&test.agent_id, 5, &[&id]).await;
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("TASK_SUBMIT").is_empty(), "it was sent again");
    agent.complete(&task, "done all the same").await;
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["done all the same"]);
}
