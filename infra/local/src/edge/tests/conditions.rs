//! What happens on demand to messages.

use std::collections::BTreeSet;

use super::Fixture;

fn numbered(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("message {number:02}"))
        .collect()
}

/// What the cloud hears of thirty messages, in its order.
async fn heard(query: &str) -> Vec<String> {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect(query).await;
    for text in numbered(30) {
        agent.say(&text).await;
    }
    agent.0.close(None).await.expect("an open connection");
    fixture.cloud.until_closed().await.0
}

#[tokio::test]
async fn undisturbed_messages_come_once_and_in_order() {
    assert_eq!(heard("").await, numbered(30));
}

#[tokio::test]
async fn messages_come_twice_and_out_of_order_and_none_is_lost() {
    let heard = heard("disturb=seed:42,double:1,reorder:0.5").await;
    assert_eq!(heard.len(), 60);
    let different: BTreeSet<_> = heard.iter().cloned().collect();
    assert_eq!(Vec::from_iter(different), numbered(30));
    assert!(!heard.is_sorted());
}

#[tokio::test]
async fn a_close_frame_does_not_overtake_late_messages() {
    let mut heard = heard("disturb=seed:42,delay:1").await;
    assert_ne!(heard, numbered(30));
    heard.sort();
    assert_eq!(heard, numbered(30));
}

#[tokio::test]
async fn dropped_messages_do_not_come_and_the_same_seed_drops_the_same() {
    let first = heard("disturb=seed:42,drop:0.5").await;
    assert!((5..25).contains(&first.len()), "{first:?}");
    assert_eq!(first, heard("disturb=seed:42,drop:0.5").await);
    assert_ne!(first, heard("disturb=seed:43,drop:0.5").await);
}

#[tokio::test]
async fn messages_for_the_agent_are_disturbed_too() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("disturb=double:1").await;
    agent.say("send 3").await;
    for _ in 0..4 {
        assert_eq!(agent.hear().await.as_deref(), Some("xxx"));
    }
}

#[tokio::test]
async fn a_cut_connection_ends_without_a_close_frame() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("disturb=cut:1").await;
    agent.say("hello").await;
    assert_eq!(agent.ended().await, None);
    assert_eq!(fixture.cloud.until_closed().await, (vec![], None));
}

#[tokio::test]
async fn an_agent_that_comes_back_is_not_cut_at_the_same_message() {
    let mut fixture = Fixture::start().await;
    let mut lengths = Vec::new();
    for _ in 0..4 {
        let mut agent = fixture.connect("disturb=seed:42,cut:0.2").await;
        for text in numbered(100) {
            // It is cut at some message.
            agent.say_in_frames(&text, 1024).await;
        }
        lengths.push(fixture.cloud.until_closed().await.0.len());
    }
    lengths.dedup();
    assert!(lengths.len() > 1, "always after {lengths:?}");
}
