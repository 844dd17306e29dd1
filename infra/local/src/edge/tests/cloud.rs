//! Stands for the emulator: tells what comes to it, and does what an agent's message asks for.

use std::path::PathBuf;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::LIMIT;

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    Opened {
        uri: String,
        agent_id: String,
    },
    Text(String),
    /// With the code of the close frame, if there was one.
    Closed(Option<u16>),
    Call {
        method: Method,
        uri: String,
        body: Bytes,
    },
}

type Events = mpsc::UnboundedSender<Event>;

pub(super) struct Cloud {
    folder: TempDir,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Cloud {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("cloud")).expect("a socket");
        let (sender, events) = mpsc::unbounded_channel();
        let router = Router::new().fallback(handle).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { folder, events }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("cloud")
    }

    pub(super) async fn next(&mut self) -> Event {
        let next = timeout(LIMIT, self.events.recv()).await;
        next.expect("in time").expect("a cloud")
    }

    /// What came and was not asked for.
    pub(super) fn nothing_more(&mut self) -> bool {
        self.events.try_recv().is_err()
    }

    /// The texts until the connection's end, and its code.
    pub(super) async fn until_closed(&mut self) -> (Vec<String>, Option<u16>) {
        let mut texts = Vec::new();
        loop {
            match self.next().await {
                Event::Text(text) => texts.push(text),
                Event::Closed(code) => return (texts, code),
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn handle(State(events): State<Events>, mut request: Request) -> Response {
    let uri = request.uri().to_string();
    let headers = request.headers();
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|_| version.is_some_and(|it| it == "13"));
    let Some(key) = key else {
        let method = request.method().clone();
        let body = to_bytes(request.into_body(), usize::MAX).await;
        let body = body.expect("a body");
        if uri == "/2015-03-31/functions/authorizer/invocations" {
            return authorize(&body);
        }
        tell(&events, Event::Call { method, uri, body });
        return (StatusCode::ACCEPTED, [("x-cloud", "yes")], "answer").into_response();
    };
    if uri.contains("refuse=") {
        return (StatusCode::UNAUTHORIZED, r#"{"message":"Unauthorized"}"#).into_response();
    }
    if uri.contains("fail=") {
        let body = r#"{"message":"","connectionId":"c1","requestId":"r1"}"#;
        return (StatusCode::INTERNAL_SERVER_ERROR, body).into_response();
    }
    let accept = derive_accept_key(key.as_bytes());
    let agent_id = headers["x-agent-id"].to_str().expect("a text").to_owned();
    tell(&events, Event::Opened { uri, agent_id });
    tokio::spawn(converse(on(&mut request), events));
    let headers = [
        (CONNECTION, "upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_ACCEPT, &accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Answers as Lambda does for an authorizer that refuses the agent `unauthorized`, and fails for any
/// other.
fn authorize(event: &Bytes) -> Response {
    let event: Value = serde_json::from_slice(event).expect("JSON");
    let error = match event["headers"]["x-agent-id"].as_str() {
        Some("unauthorized") => {
            json!({ "errorType": "BAD_API_KEY", "errorMessage": "Unauthorized" })
        }
        _ => json!({ "errorType": "STORE_UNAVAILABLE", "errorMessage": "STORE_UNAVAILABLE" }),
    };
    ([("x-amz-function-error", "Unhandled")], error.to_string()).into_response()
}

/// `send n` is answered with n bytes, `close` with a close frame.
async fn converse(upgrade: OnUpgrade, events: Events) {
    let upgraded = TokioIo::new(upgrade.await.expect("an upgraded connection"));
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
    let mut code = None;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => {
                if let Some(bytes) = text.strip_prefix("send ") {
                    let bytes = bytes.parse().expect("a number");
                    let answer = Message::text("x".repeat(bytes));
                    socket.send(answer).await.expect("an open connection");
                }
                if text.as_str() == "close" {
                    let (code, reason) = (1000.into(), "bye".into());
                    let close = Message::Close(Some(CloseFrame { code, reason }));
                    socket.send(close).await.expect("an open connection");
                }
                tell(&events, Event::Text(text.to_string()));
            }
            Message::Close(frame) => code = frame.map(|frame| frame.code.into()),
            _ => {}
        }
    }
    tell(&events, Event::Closed(code));
}

fn tell(events: &Events, event: Event) {
    // Nobody listens once the test has ended.
    let _heard = events.send(event);
}
