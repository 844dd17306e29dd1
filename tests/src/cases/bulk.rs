//! Work on many tasks at once.

use crate::harness::{Test, eventually};

const TASKS: usize = 55;

/// The channel's message about bulk work that begins with these words, once it says all of `parts`.
async fn shows(test: &Test, parts: &[&str]) {
    eventually(&format!("a message says {parts:?}"), async || {
        let messages = test.channel.messages().await;
        let texts: Vec<_> = messages.iter().map(crate::harness::shown).collect();
        let found = texts
            .iter()
            .any(|text| parts.iter().all(|part| text.contains(part)));
        if found {
            Ok(())
        } else {
            Err(format!("{texts:#?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn all_waiting_tasks_are_cancelled_tried_again_and_archived_with_a_bar() {
    let test = Test::new("bulk").await;
    let mut ids = Vec::new();
    for number in 1..=TASKS {
        ids.push(test.channel.run(&format!("task {number}")).await);
    }
    let answer = test.channel.command("/bm cancel all").await;
    assert!(answer.contains("a message here follows it"), "{answer}");
    shows(&test, &["being stopped: 55", "100 %", "55 of 55 looked at"]).await;
    for id in [&ids[0], &ids[TASKS - 1]] {
        test.channel.card(id, "Cancelled").await;
    }
    // Nothing failed, so that nothing is tried again; a cancelled task is, one by one.
    test.channel.command("/bm retry failed").await;
    shows(&test, &["Tasks tried again: 0", "55 left as they were"]).await;
    test.channel.command(&format!("/bm retry {}", ids[0])).await;
    let mut agent = test.connect().await;
    let task = agent.accept_next_offer().await;
    assert_eq!((task.id.as_str(), task.attempt), (ids[0].as_str(), 1));
    agent.complete(&task, "done").await;

    test.channel.command("/bm archive").await;
    shows(&test, &["Tasks archived: 55", "0 left as they were"]).await;
    let list = test.channel.command("/bm tasks").await;
    assert!(list.contains("No task yet"), "{list}");
    test.channel.card(&ids[0], "Completed").await;
}
