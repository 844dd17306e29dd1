//! The order of an agent's queue, and what one queue means for another.

use futures::stream::{self, StreamExt as _};
use tokio::sync::watch;

use crate::harness::{Test, TestAgent, TypeSpelling};

#[tokio::test]
async fn what_waits_is_delivered_by_priority_and_then_by_age() {
    let test = Test::new("priority").await;
    for (priority, prompt) in [
        ("--priority low", "fifth"),
        ("", "third"),
        ("--priority high", "first"),
        ("--priority normal", "fourth"),
        ("--priority high", "second"),
        ("--priority low", "sixth"),
    ] {
        test.channel.run(&format!("{priority} {prompt}")).await;
    }
    let mut agent = test.connect_as(TypeSpelling::Canonical, 1).await;
    let mut order = Vec::new();
    for _ in 0..6 {
        let task = agent.accept_next_offer().await;
        agent.ping_and_expect_pong().await;
        assert!(agent.unread("TASK_SUBMIT").is_empty(), "two at once");
        order.push(
            task.payload["prompt"]
                .as_str()
                .expect("a prompt")
                .to_owned(),
        );
        agent.complete(&task, "in turn").await;
    }
    assert_eq!(
        order,
        ["first", "second", "third", "fourth", "fifth", "sixth"]
    );
}

const NOISE: usize = 200;
/// Commands that are typed at a time.
const AT_ONCE: usize = 8;

/// Works off all of the noise, and tells how much of it is done.
async fn work_off(mut agent: TestAgent, progress: watch::Sender<usize>) {
    for done in 1..=NOISE {
        let task = agent.expect_offer().await;
        // Only the result: it says as well that the task was taken.
        agent.complete(&task, "noise").await;
        progress.send_replace(done);
    }
}

#[tokio::test]
async fn an_agent_with_two_hundred_tasks_in_line_does_not_delay_another() {
    let (noisy, quiet) = (Test::new("noisy").await, Test::new("quiet").await);
    stream::iter(0..NOISE)
        .for_each_concurrent(AT_ONCE, async |number| {
            noisy.channel.run(&format!("noise {number}")).await;
        })
        .await;
    let mut agent = quiet.connect().await;
    agent.ping_and_expect_pong().await;
    let busy = noisy.connect_as(TypeSpelling::Canonical, 20).await;
    let (progress, mut done) = watch::channel(0);
    let quietly = async {
        let begun = done.wait_for(|done| *done >= 10).await;
        drop(begun.expect("the noise begins"));
        let id = quiet.channel.run("one thing").await;
        let task = agent.accept_next_offer().await;
        let done = *done.borrow();
        assert_eq!(task.id, id);
        agent.complete(&task, "done").await;
        done
    };
    let (done, ()) = tokio::join!(quietly, work_off(busy, progress));
    assert!(done < NOISE / 2, "it was delivered after {done} others");
}
