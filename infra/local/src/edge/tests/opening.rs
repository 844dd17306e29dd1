//! Handshakes.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

use super::cloud::Event;
use super::{Agent, Fixture};

fn refusal(outcome: Result<Agent, Error>) -> (u16, String) {
    match outcome {
        Err(Error::Http(answer)) => {
            let body = answer.body().clone().unwrap_or_default();
            let body = String::from_utf8(body).expect("a text");
            (answer.status().as_u16(), body)
        }
        Err(error) => panic!("refused otherwise: {error}"),
        Ok(_) => panic!("let in"),
    }
}

#[tokio::test]
async fn the_cloud_sees_the_agents_headers_and_query_but_not_our_parameter() {
    let mut fixture = Fixture::start().await;
    let query = "token=a%20b&disturb=seed:1";
    let mut agent = fixture.try_connect(query).await.expect("a connection");
    let opened = Event::Opened {
        uri: "/_aws/execute-api/api/prod?token=a%20b".to_owned(),
        agent_id: "robot".to_owned(),
    };
    assert_eq!(fixture.cloud.next().await, opened);
    agent.say("send 3").await;
    assert_eq!(agent.hear().await.as_deref(), Some("xxx"));
}

#[tokio::test]
async fn a_handshake_that_the_cloud_refuses_is_refused_in_its_words() {
    let fixture = Fixture::start().await;
    let (status, text) = refusal(fixture.try_connect("refuse=1").await);
    assert_eq!(status, 401);
    assert_eq!(text, r#"{"message":"Unauthorized"}"#);
}

#[tokio::test]
async fn a_key_that_the_authorizer_refuses_is_answered_with_401_and_its_failure_with_500() {
    let fixture = Fixture::start().await;
    let (status, text) = refusal(fixture.try_connect_as("unauthorized", "fail=1").await);
    let body: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status, 401);
    let wanted = json!({ "message": "Unauthorized", "connectionId": "c1", "requestId": "r1" });
    assert_eq!(body, wanted);

    let (status, _) = refusal(fixture.try_connect_as("robot", "fail=1").await);
    assert_eq!(status, 500);
}

#[tokio::test]
async fn a_disturbance_that_is_not_understood_is_refused_with_a_sentence() {
    let mut fixture = Fixture::start().await;
    let (status, text) = refusal(fixture.try_connect("disturb=drop:often").await);
    assert_eq!(status, 400);
    assert!(
        text.contains("a probability from 0 to 1 for drop"),
        "{text}"
    );
    assert!(fixture.cloud.nothing_more());
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_here() {
    let mut fixture = Fixture::start().await;
    let right = "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (headers, status) in [
        (right.replace("Sec-WebSocket-Key", "X-Key"), "400"),
        (right.replace("Version: 13", "Version: 8"), "400"),
        (right.to_owned(), "101"),
        (format!("Connection: keep-alive\r\n{right}"), "101"),
    ] {
        let address = fixture.edge.execute_api_address();
        let (host, path) = address.split_once('/').expect("a path");
        let mut socket = TcpStream::connect(host).await.expect("a port");
        let request = format!(
            "GET /{path}/api/prod HTTP/1.1\r\nHost: {host}\r\nx-agent-id: robot\r\nUpgrade: websocket\r\n{headers}\r\n"
        );
        socket
            .write_all(request.as_bytes())
            .await
            .expect("an open socket");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer, format!("HTTP/1.1 {status}"), "{headers}");
        if status == "101" {
            assert!(matches!(fixture.cloud.next().await, Event::Opened { .. }));
        } else {
            assert!(fixture.cloud.nothing_more());
        }
        drop(socket);
        if status == "101" {
            fixture.cloud.until_closed().await;
        }
    }
}

#[tokio::test]
async fn close_frames_pass_both_ways() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("").await;
    agent.say("close").await;
    let close = agent.ended().await.expect("a close frame");
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (1000, "bye")
    );

    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("").await;
    agent.say("hello").await;
    agent.0.close(None).await.expect("an open connection");
    assert_eq!(
        fixture.cloud.until_closed().await,
        (vec!["hello".to_owned()], None)
    );
    assert_eq!(agent.ended().await, None);
}

#[tokio::test]
async fn the_end_of_the_edge_ends_connections() {
    let mut fixture = Fixture::start().await;
    let mut agent = fixture.connect("").await;
    fixture.edge.shutdown().await;
    assert_eq!(agent.ended().await, None);
    assert_eq!(fixture.cloud.next().await, Event::Closed(None));
}
