//! Unauthenticated clients send more than is accepted: agents and Slack are served all the same.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;

use crate::harness::{Test, stack};

/// The requests of each route over HTTP, and the time between two: what the emulator's one processor
/// can refuse in that time. API Gateway admits more.
const REQUESTS: usize = 75;
const INTERVAL: Duration = Duration::from_millis(200);
const HANDSHAKES: usize = 150;

/// Sends unsigned requests. Returns their statuses.
async fn flood(method: reqwest::Method, url: String) -> Vec<u16> {
    let http = reqwest::Client::new();
    let mut requests = Vec::new();
    for _ in 0..REQUESTS {
        let sending = http.request(method.clone(), &url).body("text=run").send();
        requests.push(tokio::spawn(sending));
        sleep(INTERVAL).await;
    }
    let answers = join_all(requests).await.into_iter();
    let answers = answers.filter_map(|it| it.ok()?.ok());
    answers.map(|answer| answer.status().as_u16()).collect()
}

/// Opens connections without a key, as many at once as the machine can. Returns how many were refused
/// for being too many.
async fn flood_of_handshakes(url: String) -> usize {
    let opening = (0..HANDSHAKES).map(|_| connect_async(url.clone()));
    let opened = join_all(opening).await;
    let too_many = |it: &&Result<_, Error>| matches!(it, Err(Error::Http(answer)) if answer.status().as_u16() == 429);
    opened.iter().filter(too_many).count()
}

#[tokio::test]
#[ignore = "it needs a fresh emulator and a quiet machine: `cargo xtask test flood`"]
async fn an_unauthenticated_flood_keeps_neither_agents_nor_slack_from_being_answered() {
    let test = Test::new("flooded").await;
    let mut agent = test.connect().await;
    let stack = stack();
    let hook = |path: &str| format!("{}{path}", stack.webhook_url);
    let flood_ended = tokio::spawn(futures::future::join4(
        flood(reqwest::Method::POST, hook("/slack/commands")),
        flood(reqwest::Method::POST, hook("/slack/events")),
        flood(reqwest::Method::GET, stack.health_url.clone()),
        flood_of_handshakes(stack.websocket_url.clone()),
    ));
    let mut answered = 0;
    while !flood_ended.is_finished() {
        agent.ping_and_expect_pong().await;
        let answer = test.channel.command("/bm help").await;
        assert!(answer.contains("/bm run"), "{answer}");
        answered += 1;
    }
    assert!(answered > 1, "{answered}");
    let (commands, events, _, refused) = flood_ended.await.expect("the flood");
    assert_eq!((commands.len(), events.len()), (REQUESTS, REQUESTS));
    // What is not signed is refused by the function, and what is too much before it.
    assert!(
        commands
            .iter()
            .chain(&events)
            .all(|it| [401, 429].contains(it)),
        "{commands:?}"
    );
    assert!(refused > 20, "{refused} handshakes were refused");
    let id = test.channel.run("and on it goes").await;
    let task = agent.accept_next_offer().await;
    assert_eq!(task.id, id);
    agent.complete(&task, "done").await;
    test.channel.card(&id, "Completed").await;
}
