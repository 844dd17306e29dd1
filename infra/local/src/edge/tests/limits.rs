//! What is always enforced.

#![expect(
    clippy::disallowed_methods,
    reason = "how long the edge keeps a real connection is what is tested"
)]

use std::time::Duration;

use tokio::time::Instant;

use super::cloud::Event;
use super::{ConnectionTimeLimits, Fixture};

const KB: usize = 1024;

#[tokio::test]
async fn a_frame_of_more_than_32_kb_closes_the_connection() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("").await;
    agent.say(&"x".repeat(32 * KB)).await;
    let Event::Text(text) = fixture.cloud.next().await else {
        panic!("no message");
    };
    assert_eq!(text.len(), 32 * KB);
    agent.say(&"x".repeat(32 * KB + 1)).await;
    assert_eq!(agent.code().await, Some(1009));
    assert_eq!(fixture.cloud.next().await, Event::Closed(Some(1009)));
}

#[tokio::test]
async fn a_message_of_more_than_128_kb_closes_the_connection() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("").await;
    agent.say_in_frames(&"x".repeat(129 * KB), 30 * KB).await;
    assert_eq!(agent.code().await, Some(1009));
    assert_eq!(fixture.cloud.next().await, Event::Closed(Some(1009)));
}

#[tokio::test]
async fn large_messages_in_small_frames_pass_both_ways() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("").await;
    let text = "ä".repeat(50 * KB);
    // Frames of an odd number of bytes end within a character.
    agent.say_in_frames(&text, 30 * KB + 1).await;
    assert_eq!(fixture.cloud.next().await, Event::Text(text));

    // The agent of these tests takes no frame of more than 32 KB.
    agent.say(&format!("send {}", 128 * KB)).await;
    assert_eq!(agent.hear().await.map(|text| text.len()), Some(128 * KB));
}

#[tokio::test]
async fn a_connection_without_messages_is_closed() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("disturb=idle:0.2").await;
    let close = agent.ended().await.expect("a close frame");
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (1001, "Going away")
    );
    assert_eq!(fixture.cloud.next().await, Event::Closed(Some(1001)));
}

#[tokio::test]
async fn the_limits_of_an_edge_are_those_that_it_was_started_with() {
    let limits = ConnectionTimeLimits {
        idle: Duration::from_millis(200),
        ..ConnectionTimeLimits::default()
    };
    let mut fixture = Fixture::with(limits).await;
    let mut agent = fixture.connect("").await;
    let close = agent.ended().await.expect("a close frame");
    assert_eq!(u16::from(close.code), 1001);
}

#[tokio::test]
async fn a_busy_connection_is_closed_at_the_end_of_its_life_and_not_before() {
    let mut fixture = Fixture::start().await;
    let opened = Instant::now();
    let mut agent = fixture.connect("disturb=idle:0.5,lifetime:1.5").await;
    loop {
        // The last one may come too late.
        agent.say_in_frames("send 3", KB).await;
        if agent.hear().await.is_none() {
            break;
        }
    }
    assert!(opened.elapsed() >= Duration::from_millis(1500));
    assert_eq!(fixture.cloud.until_closed().await.1, Some(1001));
}
