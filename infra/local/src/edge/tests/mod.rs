//! The edge between an agent, or a function, and a small emulator of an emulator.

mod calls;
mod cloud;
mod conditions;
mod limits;
mod opening;
mod web_page;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{ConnectionTimeLimits, Edge, Emulator, Throttles};
use cloud::{Cloud, Event};

/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(20);

/// The id of the stack's access key.
const ACCESS_KEY_ID: &str = "LOCAL42";

/// An edge in front of a cloud.
struct Fixture {
    edge: Edge,
    cloud: Cloud,
}

impl Fixture {
    async fn start() -> Self {
        Self::with(ConnectionTimeLimits::default()).await
    }

    async fn with(limits: ConnectionTimeLimits) -> Self {
        let cloud = Cloud::start();
        let emulator = Emulator {
            socket: cloud.socket(),
            access_key_id: ACCESS_KEY_ID.into(),
            authorizer: "authorizer".to_owned(),
        };
        let edge = Edge::start(0, emulator, limits, Throttles::default()).await;
        let edge = edge.expect("a free port");
        Self { edge, cloud }
    }

    fn url(&self, query: &str) -> String {
        format!("ws://{}/api/prod?{query}", self.edge.execute_api_address())
    }

    async fn try_connect(&self, query: &str) -> Result<Agent, Error> {
        self.try_connect_as("robot", query).await
    }

    async fn try_connect_as(&self, agent_id: &'static str, query: &str) -> Result<Agent, Error> {
        let mut request = self.url(query).into_client_request()?;
        let name = HeaderValue::from_static(agent_id);
        request.headers_mut().insert("x-agent-id", name);
        // What agents in the field may insist on.
        let config = WebSocketConfig::default().max_frame_size(Some(32 * 1024));
        let (socket, _) = connect_async_with_config(request, Some(config), true).await?;
        Ok(Agent(socket))
    }

    /// A connection that the cloud has seen.
    async fn connect(&mut self, query: &str) -> Agent {
        let agent = self.try_connect(query).await.expect("a connection");
        let opened = self.cloud.next().await;
        assert!(matches!(opened, Event::Opened { .. }), "{opened:?}");
        agent
    }
}

/// A connected agent.
struct Agent(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Agent {
    async fn say(&mut self, text: &str) {
        let sent = self.0.send(Message::text(text)).await;
        sent.expect("an open connection");
    }

    /// Sends one message in frames of so many bytes; the connection may be closed meanwhile.
    async fn say_in_frames(&mut self, text: &str, bytes: usize) {
        let mut opcode = Data::Text;
        let parts: Vec<_> = text.as_bytes().chunks(bytes).collect();
        for (number, part) in parts.iter().enumerate() {
            let last = number + 1 == parts.len();
            let frame = Frame::message(part.to_vec(), OpCode::Data(opcode), last);
            if self.0.send(Message::Frame(frame)).await.is_err() {
                return;
            }
            opcode = Data::Continue;
        }
    }

    /// The next text; nothing once the connection has ended.
    async fn hear(&mut self) -> Option<String> {
        match timeout(LIMIT, self.0.next()).await.expect("in time") {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            _ => None,
        }
    }

    /// How the connection ends, whatever comes before.
    async fn ended(&mut self) -> Option<CloseFrame> {
        let ending = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(frame))) => return frame,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        timeout(LIMIT, ending).await.expect("an end in time")
    }

    async fn code(&mut self) -> Option<u16> {
        self.ended().await.map(|frame| frame.code.into())
    }
}
