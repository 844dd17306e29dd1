//! Connections.

use aws_sdk_apigatewaymanagement::{Client, config::Builder, primitives::Blob};

use super::*;

fn client(it: &Fixture) -> Client {
    let config = Builder::from(&it.aws.sdk_config());
    let config = config
        .endpoint_url("https://api.execute-api.us-east-1.amazonaws.com/prod")
        .build();
    Client::from_conf(config)
}

async fn post(client: &Client, id: &str, bytes: usize) -> Option<String> {
    let post = client
        .post_to_connection()
        .connection_id(id)
        .data(Blob::new("x".repeat(bytes)));
    let answer = post.send().await;
    answer.is_err().then(|| code(answer))
}

#[tokio::test]
async fn what_is_posted_arrives_at_an_open_connection_only() {
    let (it, id) = (Fixture::new(), "L0SM9cOFvHcCIhw=");
    let client = client(&it);
    let gone = Some("GoneException".to_owned());
    assert_eq!(post(&client, id, 1).await, gone, "it never was");
    it.open(id);
    assert_eq!(post(&client, id, 2).await, None);
    it.aws
        .connections()
        .set_state(id, ConnectionState::GoneButDelivered);
    assert_eq!(post(&client, id, 4).await, gone);
    it.aws.connections().set_state(id, ConnectionState::Gone);
    assert_eq!(post(&client, id, 5).await, gone);
    let posts = it.aws.connections().take_posts();
    let posts: Vec<_> = posts
        .iter()
        .map(|(to, bytes)| (to.as_str(), bytes.len()))
        .collect();
    assert_eq!(posts, [(id, 2), (id, 4)]);
    assert_eq!(
        it.aws.calls().take()[0].to_string(),
        format!("PostToConnection {id}")
    );
}

#[tokio::test]
async fn a_payload_has_128_kb_at_most() {
    let it = Fixture::new();
    let client = client(&it);
    it.open("a");
    assert_eq!(post(&client, "a", 128 * 1024).await, None);
    let refused = post(&client, "a", 128 * 1024 + 1).await;
    assert_eq!(refused.as_deref(), Some("PayloadTooLargeException"));
    assert_eq!(it.aws.connections().take_posts().len(), 1);
}

#[tokio::test]
async fn a_connection_is_closed_once() {
    let it = Fixture::new();
    let client = client(&it);
    it.open("a");
    let delete = || client.delete_connection().connection_id("a").send();
    delete().await.unwrap();
    assert_eq!(it.aws.connections().take_deleted(), ["a"]);
    assert_eq!(code(delete().await), "GoneException");
    assert_eq!(
        post(&client, "a", 1).await,
        Some("GoneException".to_owned())
    );
}
