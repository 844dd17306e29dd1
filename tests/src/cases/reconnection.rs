//! Agents that drop out in the middle of their work and come back.

use serde_json::json;

use crate::harness::{Program, Test};

#[tokio::test]
async fn an_agent_that_comes_back_and_names_its_task_goes_on_with_it() {
    let test = Test::new("comeback").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("hold on").await;
    let task = agent.accept_next_offer().await;
    let output = |text: &str, seq: u32| task.reply_payload(json!({ "delta": text, "seq": seq }));
    agent
        .send("TASK_STREAM", output("before the drop\n", 0))
        .await;
    test.channel.card(&id, "before the drop").await;
    drop(agent);
    test.offline().await;

    let mut agent = test.reconnect(&[&id]).await;
    agent
        .send("TASK_STREAM", output("after the drop\n", 1))
        .await;
    test.channel
        .card(&id, "after the drop")
        .await
        .tells(&["Running on agent"]);
    agent.complete(&task, "held on").await;
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["before the drop\nafter the drop", "held on"]);
    card.hides(&["Late"]);
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("TASK_SUBMIT").is_empty());
}

#[tokio::test]
async fn a_result_that_was_not_confirmed_is_taken_over_the_next_connection_and_counts_once() {
    let test = Test::new("resend").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("say it twice").await;
    let task = agent.accept_next_offer().await;
    let result = agent.build_message(
        "TASK_COMPLETE",
        &task.reply_payload(json!({ "result": "said" })),
    );
    let message = result["id"].as_str().expect("an id");
    agent.send_text(result.to_string()).await;
    drop(agent);

    let mut agent = test.reconnect(&[&id]).await;
    for _ in 0..2 {
        agent.send_text(result.to_string()).await;
        agent.expect_confirmation(message).await;
    }
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["*Result*\nsaid"]);
    card.hides(&["Late"]);
    // Its slot is free again.
    for prompt in ["one", "two", "three", "four", "five"] {
        let id = test.channel.run(prompt).await;
        assert_eq!(agent.accept_next_offer().await.id, id);
    }
    assert!(agent.unread("SYSTEM_ERROR").is_empty());
}

#[tokio::test]
async fn a_task_that_its_agent_no_longer_names_is_lost_though_its_result_may_still_come() {
    let test = Test::new("forgotten").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("forget me").await;
    let task = agent.accept_next_offer().await;
    test.channel.card(&id, "Running on agent").await;
    drop(agent);

    let mut agent = test.reconnect(&[]).await;
    agent.ping_and_expect_pong().await;
    test.channel.status(&id, "Running on agent").await;
    let card = test.channel.card(&id, "AGENT_LOST").await;
    assert_eq!(card.buttons, ["retry"]);
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("TASK_SUBMIT").is_empty(), "run again unasked");
    agent.complete(&task, "not forgotten").await;
    let card = test
        .channel
        .card(&id, "Late:* attempt 1 completed: not forgotten")
        .await;
    card.tells(&["Failed"]);
}

#[tokio::test]
async fn a_replaced_connection_neither_loses_nor_doubles_anything_of_the_reference_agent() {
    let test = Test::new("renewal").await;
    let script = r#"read name; echo "$name $BEMATIC_ATTEMPT" >> ran
        for i in $(seq 40); do echo "line $i of $name"; sleep 0.2; done
        echo "$BEMATIC_LINE_PREFIX {\"result\":\"counted\"}""#;
    let options = ["--renew-after", "2", "--concurrency", "3"];
    let agent = Program::start_with(&test, &format!("sh -c '{script}'"), &options);
    let mut tasks = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        tasks.push((name, test.channel.run(name).await));
    }
    for (name, id) in &tasks {
        let card = test.channel.card(id, "Completed").await;
        let lines: Vec<_> = card
            .text
            .lines()
            .filter(|line| line.starts_with("line "))
            .collect();
        let expected: Vec<_> = (1..=40).map(|i| format!("line {i} of {name}")).collect();
        assert_eq!(lines, expected, "{}", card.text);
        card.hides(&["Late"]);
    }
    let ran = std::fs::read_to_string(test.folder.path().join("ran")).expect("a file");
    let mut ran: Vec<_> = ran.lines().collect();
    ran.sort_unstable();
    assert_eq!(ran, ["five 1", "four 1", "one 1", "three 1", "two 1"]);
    assert!(
        agent.told("renewed").len() >= 3,
        "{:?}",
        agent.told("renewed")
    );
    for event in ["disconnected", "warning", "error"] {
        assert!(agent.told(event).is_empty(), "{:?}", agent.told(event));
    }
    assert!(agent.stop().await.success());
}
