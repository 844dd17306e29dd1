//! Stands for the emulator: tells what comes to it, and does what an agent's message asks for.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::LIMIT;

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    Opened {
        uri: String,
        agent_id: String,
    },
    Text(String),
    /// With the code of the goodbye, if there was one.
    Closed(Option<u16>),
    Call {
        method: Method,
        uri: String,
        body: Bytes,
    },
}

type Events = mpsc::UnboundedSender<Event>;

pub(super) struct Cloud {
    pub(super) address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Cloud {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, events) = mpsc::unbounded_channel();
        let router = Router::new().fallback(handle).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, events }
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

async fn handle(
    State(events): State<Events>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let uri = uri.to_string();
    let Ok(upgrade) = upgrade else {
        tell(&events, Event::Call { method, uri, body });
        return (StatusCode::ACCEPTED, [("x-cloud", "yes")], "answer").into_response();
    };
    if uri.contains("refuse=") {
        return (StatusCode::UNAUTHORIZED, r#"{"message":"Unauthorized"}"#).into_response();
    }
    let agent_id = headers["x-agent-id"].to_str().expect("a text").to_owned();
    tell(&events, Event::Opened { uri, agent_id });
    upgrade.on_upgrade(|socket| converse(socket, events))
}

/// `send n` is answered with n bytes, `close` with a goodbye.
async fn converse(mut socket: WebSocket, events: Events) {
    let mut code = None;
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Text(text) => {
                if let Some(bytes) = text.strip_prefix("send ") {
                    let bytes = bytes.parse().expect("a number");
                    let answer = Message::text("x".repeat(bytes));
                    socket.send(answer).await.expect("an open connection");
                }
                if text.as_str() == "close" {
                    let (code, reason) = (1000, "bye".into());
                    let goodbye = Message::Close(Some(CloseFrame { code, reason }));
                    socket.send(goodbye).await.expect("an open connection");
                }
                tell(&events, Event::Text(text.to_string()));
            }
            Message::Close(frame) => code = frame.map(|frame| frame.code),
            _ => {}
        }
    }
    tell(&events, Event::Closed(code));
}

fn tell(events: &Events, event: Event) {
    // Nobody listens once the test has ended.
    let _heard = events.send(event);
}
