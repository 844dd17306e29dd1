//! A WebSocket, as an agent opens it.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The headers of a handshake; the default has none, for an agent that authenticates in band.
#[derive(Debug, Clone, Default)]
pub struct HandshakeHeaders(Vec<(&'static str, String)>);

impl HandshakeHeaders {
    /// Returns the headers of a handshake that authenticates.
    pub fn with_key(agent_id: &str, api_key: &str) -> Self {
        Self(vec![
            ("authorization", format!("Bearer {api_key}")),
            ("x-agent-id", agent_id.to_owned()),
        ])
    }
}

/// An event on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Text(String),
    /// The end of the connection; with a code, if the cloud closed it with one.
    Closed(Option<u16>),
}

/// An open connection. Dropped, it is cut without a closing handshake.
#[derive(Debug)]
pub struct Connection(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>);

impl Connection {
    /// Opens a connection. The error is how the handshake failed or was refused.
    pub async fn open(url: &str, handshake: &HandshakeHeaders) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        for (name, value) in &handshake.0 {
            request.headers_mut().insert(*name, value.parse()?);
        }
        // On the heap, as what a test awaits: its own future stays small.
        let (socket, _) = Box::pin(connect_async(request)).await?;
        Ok(Self(Box::new(socket)))
    }

    /// Sends a text, message or not.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.0.send(Message::text(text.into())).await
    }

    /// Sends a text in frames of at most so many bytes. The cloud may close the connection in the
    /// middle of the text.
    pub async fn send_in_frames(&mut self, text: &str, bytes: usize) -> Result<(), Error> {
        let mut opcode = Data::Text;
        let mut parts = text.as_bytes().chunks(bytes).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let frame = Frame::message(part.to_vec(), OpCode::Data(opcode), last);
            self.0.send(Message::Frame(frame)).await?;
            opcode = Data::Continue;
        }
        Ok(())
    }

    /// Awaits the next event. Waiting can be given up and resumed.
    pub async fn next(&mut self) -> Incoming {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Incoming::Text(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    return Incoming::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Err(_)) | None => return Incoming::Closed(None),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Closes the connection with a closing handshake.
    pub async fn close(mut self) -> Result<(), Error> {
        WebSocketStream::close(&mut self.0, None).await
    }
}
