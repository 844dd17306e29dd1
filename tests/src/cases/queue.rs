//! The order of an agent's queue, and what one queue means for another.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::harness::{Spelling, Test, TestAgent};

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
    let mut agent = test.connect_as(Spelling::Canonical, 1).await;
    let mut order = Vec::new();
    for _ in 0..6 {
        let task = agent.take().await;
        agent.is_heard().await;
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
/// The latest that somebody else's task may be delivered; the noise takes twice as long and more.
const SOON: Duration = Duration::from_secs(8);

/// Works off all of the noise, and tells when it is well under way.
async fn work_off(mut agent: TestAgent, begun: oneshot::Sender<()>) {
    let mut begun = Some(begun);
    for done in 1..=NOISE {
        let task = agent.submitted().await;
        // Only the result: it says as well that the task was taken.
        agent.complete(&task, "noise").await;
        if done == 10
            && let Some(begun) = begun.take()
        {
            begun.send(()).expect("somebody who waits");
        }
    }
}

#[tokio::test]
async fn an_agent_with_two_hundred_tasks_in_line_does_not_delay_another() {
    let (noisy, quiet) = (Test::new("noisy").await, Test::new("quiet").await);
    let mut agent = quiet.connect().await;
    agent.is_heard().await;
    stream::iter(0..NOISE)
        .for_each_concurrent(AT_ONCE, async |number| {
            noisy.channel.run(&format!("noise {number}")).await;
        })
        .await;
    let noise = noisy.connect_as(Spelling::Canonical, 20).await;
    let (begun, begins) = oneshot::channel();
    let quietly = async {
        begins.await.expect("the noise begins");
        let start = Instant::now();
        let id = quiet.channel.run("one thing").await;
        let task = agent.take().await;
        let took = start.elapsed();
        assert_eq!(task.id, id);
        agent.complete(&task, "done").await;
        took
    };
    let worked_off = work_off(noise, begun);
    let (took, ()) = tokio::join!(quietly, worked_off);
    assert!(took < SOON, "it took {took:?}");
}
