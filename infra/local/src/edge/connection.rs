//! One agent's connection, from its two handshakes to its end.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge delays real messages in real time"
)]

use std::future::pending;
use std::time::Duration;

use bematic_protocol::messages::limits::FRAME_BYTES;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_util::sync::CancellationToken;

use super::disturbance::{Direction, Disturbance, Fate, MessageDice};
use super::line::Line;

/// How long either side may take to agree to a close.
const CLOSE: Duration = Duration::from_secs(2);

/// The end of a connection.
enum End {
    /// With a close frame, which is passed on to the other side.
    Closed(Option<CloseFrame>),
    /// Without one.
    Cut,
}

impl End {
    fn closed(code: CloseCode, reason: &'static str) -> Self {
        let reason = reason.into();
        Self::Closed(Some(CloseFrame { code, reason }))
    }

    /// As API Gateway ends a connection at a limit of time.
    fn going_away() -> Self {
        Self::closed(CloseCode::Away, "Going away")
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::closed(CloseCode::Size, "Message too long"),
            Error::Utf8(_) => Self::closed(CloseCode::Invalid, "Not UTF-8"),
            _ => Self::Cut,
        }
    }
}

/// Carries messages both ways until either side ends the connection, or a limit or chance does.
/// `ordinal` counts the connections that asked for the same disturbance before; `stop` is cancelled
/// when the edge ends.
pub(super) async fn carry<A, C>(
    agent: WebSocketStream<A>,
    cloud: WebSocketStream<C>,
    disturbance: Disturbance,
    ordinal: u64,
    stop: &CancellationToken,
) where
    A: AsyncRead + AsyncWrite + Unpin,
    C: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_agent, mut from_agent) = agent.split();
    let (mut to_cloud, mut from_cloud) = cloud.split();
    let (beat, beats) = watch::channel(());
    let pump = |direction| Pump {
        dice: MessageDice::new(disturbance, ordinal, direction),
        line: Line::new(),
        direction,
        beat: &beat,
    };
    let end = tokio::select! {
        biased;
        () = stop.cancelled() => End::Cut,
        end = pump(Direction::ToCloud).run(&mut from_agent, &mut to_cloud) => end,
        end = pump(Direction::ToAgent).run(&mut from_cloud, &mut to_agent) => end,
        () = silence(disturbance.limits.idle, beats) => End::going_away(),
        () = sleep(disturbance.limits.lifetime) => End::going_away(),
    };
    // The halves are of one whole: they always fit. Dropped, a socket is gone.
    let sockets = (to_agent.reunite(from_agent), to_cloud.reunite(from_cloud));
    if let (End::Closed(frame), (Ok(agent), Ok(cloud))) = (end, sockets) {
        tokio::join!(close(agent, frame.clone()), close(cloud, frame));
    }
}

/// Returns once no message went either way for so long.
async fn silence(limit: Duration, mut beats: watch::Receiver<()>) {
    while let Ok(Ok(())) = timeout(limit, beats.changed()).await {}
}

/// Carries messages one way.
struct Pump<'a> {
    dice: MessageDice,
    line: Line<Message>,
    direction: Direction,
    beat: &'a watch::Sender<()>,
}

impl Pump<'_> {
    async fn run(
        mut self,
        from: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
        to: &mut (impl Sink<Message, Error = Error> + Unpin),
    ) -> End {
        loop {
            while let Some(message) = self.line.due(Instant::now()) {
                if self.send(message, to).await.is_err() {
                    // The pump that reads from that side sees why it is gone.
                    return pending().await;
                }
            }
            let next = self.line.next_at();
            let came = tokio::select! {
                biased;
                came = from.next() => came,
                () = due(next) => continue,
            };
            match came {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    self.beat.send_replace(());
                    match self.dice.next() {
                        Fate::Cut => return End::Cut,
                        Fate::Copies(delays) => self.line.put(&message, &delays, Instant::now()),
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    self.send_rest(to).await;
                    return End::Closed(frame);
                }
                // Pings are answered by the library, here as at API Gateway.
                Some(Ok(_)) => {}
                Some(Err(error)) => return End::of(&error),
                None => return End::Cut,
            }
        }
    }

    async fn send(
        &self,
        message: Message,
        to: &mut (impl Sink<Message, Error = Error> + Unpin),
    ) -> Result<(), Error> {
        let parts = match self.direction {
            Direction::ToAgent => framed(message),
            Direction::ToCloud => vec![message],
        };
        for part in parts {
            to.feed(part).await?;
        }
        to.flush().await
    }

    /// Sends the messages that still wait: an orderly close loses none.
    async fn send_rest(&mut self, to: &mut (impl Sink<Message, Error = Error> + Unpin)) {
        for message in self.line.rest() {
            if self.send(message, to).await.is_err() {
                return;
            }
        }
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Sends a close frame, or answers one, and lets the other side end the connection. The data that it
/// still sends is read, since the close frame would be lost with a connection that is reset.
async fn close<S>(mut socket: WebSocketStream<S>, frame: Option<CloseFrame>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        if socket.close(frame).await.is_err() {
            // The other side closed first: the answer is ready and is only sent.
            socket.flush().await?;
        }
        let mut raw = socket.into_inner();
        raw.shutdown().await?;
        let mut rest = [0; 4096];
        while raw.read(&mut rest).await? > 0 {}
        Ok::<_, Error>(())
    };
    // It ends either way.
    let _closed = timeout(CLOSE, closing).await;
}

/// Divides a message as API Gateway does for an agent: into frames of at most 32 KB, cut anywhere, also
/// within a character.
fn framed(message: Message) -> Vec<Message> {
    let (mut opcode, mut rest) = match &message {
        Message::Text(text) if text.len() > FRAME_BYTES => (Data::Text, Bytes::from(text.clone())),
        Message::Binary(bytes) if bytes.len() > FRAME_BYTES => (Data::Binary, bytes.clone()),
        _ => return vec![message],
    };
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let head = rest.split_to(FRAME_BYTES.min(rest.len()));
        let frame = Frame::message(head, OpCode::Data(opcode), rest.is_empty());
        frames.push(Message::Frame(frame));
        opcode = Data::Continue;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(message: Message) -> Vec<(usize, bool)> {
        let part = |message| match message {
            Message::Frame(frame) => (frame.payload().len(), frame.header().is_final),
            whole => (whole.len(), true),
        };
        framed(message).into_iter().map(part).collect()
    }

    #[test]
    fn only_a_message_larger_than_a_frame_is_divided() {
        assert_eq!(
            lengths(Message::text("x".repeat(FRAME_BYTES))),
            [(FRAME_BYTES, true)]
        );
        assert_eq!(
            lengths(Message::text("ä".repeat(FRAME_BYTES))),
            [(FRAME_BYTES, false), (FRAME_BYTES, true)]
        );
        assert_eq!(
            lengths(Message::binary(vec![0; FRAME_BYTES + 1])),
            [(FRAME_BYTES, false), (1, true)]
        );
    }
}
