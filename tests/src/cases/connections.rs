//! Agents that come, go, and come twice.

use crate::harness::{Test, eventually};

#[tokio::test]
async fn a_newer_connection_replaces_the_older_whose_late_goodbye_changes_nothing() {
    let test = Test::new("replaced").await;
    let mut older = test.connect().await;
    older.ping_and_expect_pong().await;
    let mut newer = test.connect().await;
    older.expect_close().await;

    let older_id = test.connections(2).await.remove(0);
    eventually(
        "the older connection's $disconnect was handled",
        async || {
            let lines = test.lines("ws-disconnect", &older_id).await;
            if lines.is_empty() {
                Err("no log line of it".to_owned())
            } else {
                Ok(())
            }
        },
    )
    .await;
    assert!(test.is_online().await);
    let id = test.channel.run("go to the newer").await;
    let task = newer.accept_next_offer().await;
    assert_eq!(task.id, id);
    newer.complete(&task, "done").await;
    test.channel.card(&id, "Completed").await;
}

#[tokio::test]
async fn a_task_for_an_offline_agent_waits_and_is_delivered_in_order() {
    let test = Test::new("offline").await;
    let (first, second) = (
        test.channel.run("be first").await,
        test.channel.run("be second").await,
    );
    let answer = test.channel.command("/bm run be third").await;
    assert!(answer.contains("in line there"), "{answer}");
    let card = test.channel.card(&first, "Waiting for agent").await;
    card.tells(&["be first", &test.agent_id, "offline: the task waits"]);

    let mut agent = test.connect().await;
    let prompts = [
        agent.accept_next_offer().await,
        agent.accept_next_offer().await,
        agent.accept_next_offer().await,
    ];
    assert_eq!(prompts[0].id, first);
    assert_eq!(prompts[1].id, second);
    assert_eq!(prompts[2].payload["prompt"], "be third");
    for task in &prompts {
        agent.complete(task, "here it is").await;
        test.channel.card(&task.id, "Completed").await;
    }
}

#[tokio::test]
async fn an_agent_that_left_is_offline_and_its_next_task_waits_for_it() {
    let test = Test::new("left").await;
    let mut agent = test.connect().await;
    agent.ping_and_expect_pong().await;
    agent.close().await;
    test.offline().await;
    let id = test.channel.run("wait for me").await;
    test.channel.card(&id, "Waiting for agent").await;
    let mut agent = test.connect().await;
    let task = agent.accept_next_offer().await;
    assert_eq!((task.id.as_str(), task.attempt), (id.as_str(), 1));
    agent.complete(&task, "back").await;
    test.channel.card(&id, "Completed").await;
}
