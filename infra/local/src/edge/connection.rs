//! One agent's connection, from its two handshakes to its end.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge delays real messages in real time"
)]

use std::future::pending;
use std::time::Duration;

use bematic_protocol::messages::limits::MAX_FRAME_BYTES;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_util::sync::CancellationToken;

use super::conditions::{ConnectionTimeLimits, Direction, MessageDice, NetworkConditions};
use super::delayed::DelayedMessages;

/// How long either side may take to agree to a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The end of a connection.
enum ConnectionEnd {
    /// With a close frame, which is passed on to the other side.
    Closed(Option<CloseFrame>),
    /// Without one.
    Cut,
}

impl ConnectionEnd {
    fn with_close_frame(code: CloseCode, reason: &'static str) -> Self {
        let reason = reason.into();
        Self::Closed(Some(CloseFrame { code, reason }))
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::with_close_frame(CloseCode::Size, "Message too long"),
            Error::Utf8(_) => Self::with_close_frame(CloseCode::Invalid, "Not UTF-8"),
            _ => Self::Cut,
        }
    }
}

/// Carries messages both ways until either side ends the connection, or a limit or chance does.
/// `ordinal` counts the agent's connections with the same seed before.
pub(super) async fn carry_both_ways(
    agent: WebSocketStream<TokioIo<Upgraded>>,
    cloud: WebSocketStream<UnixStream>,
    conditions: NetworkConditions,
    ordinal: u64,
    stop: &CancellationToken,
) {
    let (mut to_agent, mut from_agent) = agent.split();
    let (mut to_cloud, mut from_cloud) = cloud.split();
    let (beat, beats) = watch::channel(());
    let dice = |direction| MessageDice::new(conditions, ordinal, direction);
    let end = tokio::select! {
        biased;
        () = stop.cancelled() => ConnectionEnd::Cut,
        end = pump(dice(Direction::ToCloud), &mut from_agent, &mut to_cloud, &beat) => end,
        end = pump(dice(Direction::ToAgent), &mut from_cloud, &mut to_agent, &beat) => end,
        () = wait_for_expiry(conditions.limits, beats) => ConnectionEnd::with_close_frame(CloseCode::Away, "Going away"),
    };
    // The halves are of one whole: they always fit. Dropped, a socket is gone.
    let sockets = (to_agent.reunite(from_agent), to_cloud.reunite(from_cloud));
    if let (ConnectionEnd::Closed(frame), (Ok(agent), Ok(cloud))) = (end, sockets) {
        tokio::join!(close(agent, frame.clone()), close(cloud, frame));
    }
}

/// Returns at a limit of time, as API Gateway enforces it. A beat is a message, either way.
async fn wait_for_expiry(limits: ConnectionTimeLimits, mut beats: watch::Receiver<()>) {
    let silence = async { while let Ok(Ok(())) = timeout(limits.idle, beats.changed()).await {} };
    let _expired = timeout(limits.lifetime, silence).await;
}

/// Carries messages one way.
async fn pump(
    mut dice: MessageDice,
    from: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    to: &mut (impl Sink<Message, Error = Error> + Unpin),
    beat: &watch::Sender<()>,
) -> ConnectionEnd {
    let mut delayed = DelayedMessages::new();
    loop {
        while let Some(message) = delayed.take_due(Instant::now()) {
            if send(message, dice.direction, to).await.is_err() {
                // The pump that reads from that side sees why it is gone.
                return pending().await;
            }
        }
        let next = delayed.next_due_at();
        let came = tokio::select! {
            biased;
            came = from.next() => came,
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => continue,
        };
        match came {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                beat.send_replace(());
                match dice.next_message_fate() {
                    None => return ConnectionEnd::Cut,
                    Some(delays) => delayed.put(&message, &delays, Instant::now()),
                }
            }
            Some(Ok(Message::Close(frame))) => {
                // An orderly close loses no message that still waits.
                for message in delayed.into_messages() {
                    if send(message, dice.direction, to).await.is_err() {
                        break;
                    }
                }
                return ConnectionEnd::Closed(frame);
            }
            // Pings are answered by the library, here as at API Gateway.
            Some(Ok(_)) => {}
            Some(Err(error)) => return ConnectionEnd::of(&error),
            None => return ConnectionEnd::Cut,
        }
    }
}

async fn send(
    message: Message,
    direction: Direction,
    to: &mut (impl Sink<Message, Error = Error> + Unpin),
) -> Result<(), Error> {
    let parts = match direction {
        Direction::ToAgent => split_into_frames(message),
        Direction::ToCloud => vec![message],
    };
    for part in parts {
        to.feed(part).await?;
    }
    to.flush().await
}

/// Sends a close frame, or answers one, and lets the other side end the connection. The data that it
/// still sends is read, since the close frame would be lost with a connection that is reset.
async fn close(
    mut socket: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>,
    frame: Option<CloseFrame>,
) {
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
    let _closed = timeout(CLOSE_TIMEOUT, closing).await;
}

/// Divides a message as API Gateway does for an agent: into frames of 32 KB, cut even within a character.
fn split_into_frames(message: Message) -> Vec<Message> {
    let (mut opcode, mut rest) = match &message {
        Message::Text(text) if text.len() > MAX_FRAME_BYTES => {
            (Data::Text, Bytes::from(text.clone()))
        }
        Message::Binary(bytes) if bytes.len() > MAX_FRAME_BYTES => (Data::Binary, bytes.clone()),
        _ => return vec![message],
    };
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let head = rest.split_to(MAX_FRAME_BYTES.min(rest.len()));
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
        split_into_frames(message).into_iter().map(part).collect()
    }

    #[test]
    fn only_a_message_larger_than_a_frame_is_divided() {
        assert_eq!(
            lengths(Message::text("x".repeat(MAX_FRAME_BYTES))),
            [(MAX_FRAME_BYTES, true)]
        );
        assert_eq!(
            lengths(Message::text("ä".repeat(MAX_FRAME_BYTES))),
            [(MAX_FRAME_BYTES, false), (MAX_FRAME_BYTES, true)]
        );
        assert_eq!(
            lengths(Message::binary(vec![0; MAX_FRAME_BYTES + 1])),
            [(MAX_FRAME_BYTES, false), (1, true)]
        );
    }
}
