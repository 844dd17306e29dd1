//! One connection, from its handshake to its end.

use std::{pin::pin, sync::Arc, time::Duration};

use bematic_protocol::messages::{CloudMessage, decode, limits::FRAME_BYTES};
use futures_util::{SinkExt, Stream, StreamExt, stream::SplitSink};
use serde::Deserialize;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::handshake::{Socket, describe};
use crate::{event::LinkEvent, text::shorten};

/// Time that the other side may take to agree to a close.
pub(crate) const CLOSE: Duration = Duration::from_secs(2);
/// Time that the network may take to accept one message.
const SEND: Duration = Duration::from_secs(30);
/// Characters of the gateway's error message that are reported.
const FAILURE_CHARS: usize = 300;
/// Bytes of text in a frame: with room for the header, and then some.
const TEXT_BYTES: usize = FRAME_BYTES - 2048;

/// The sender's end of a connection, which is closed when all clones of the line are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The messages to send; closed when the connection is gone.
    pub(crate) texts: mpsc::Sender<String>,
    /// Requests a new connection in place of this one.
    pub(crate) renewal: Arc<Notify>,
}

/// An event of the connection; with [`LinkEvent::Up`] comes its line.
pub(crate) type Report = (LinkEvent, Option<Line>);

/// Carries text until the connection ends, and returns why it ended. `texts` are those of its line.
/// Once the connection is `replaced` and its line dropped, it is still read for `linger`.
pub(super) async fn converse(
    socket: Socket,
    texts: mpsc::Receiver<String>,
    reports: mpsc::Sender<Report>,
    replaced: watch::Receiver<bool>,
    linger: Duration,
) -> String {
    let (mut sink, mut stream) = socket.split();
    let mut reading = pin!(read(&mut stream, &reports, &replaced));
    let writing = tokio::select! {
        reason = &mut reading => return reason,
        written = write(&mut sink, texts) => written,
    };
    if let Err(reason) = writing {
        return reason;
    }
    if *replaced.borrow()
        && let Ok(reason) = timeout(linger, &mut reading).await
    {
        return reason;
    }
    // The connection ends either way.
    let _closed = timeout(CLOSE, sink.close()).await;
    // Messages before the answer to the close still count.
    let _answered = timeout(CLOSE, reading).await;
    "closed by the agent".to_owned()
}

/// Sends the texts of the line, until that is dropped.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut texts: mpsc::Receiver<String>,
) -> Result<(), String> {
    while let Some(text) = texts.recv().await {
        match timeout(SEND, send(sink, &text)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(describe(&error)),
            Err(_) => return Err("the network does not take what is sent".to_owned()),
        }
    }
    Ok(())
}

/// Sends a message in frames that API Gateway accepts: several if the message is large.
async fn send(sink: &mut SplitSink<Socket, Message>, text: &str) -> Result<(), Error> {
    let (mut rest, mut opcode) = (text, Data::Text);
    loop {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(TEXT_BYTES));
        let frame = Frame::message(head.to_owned(), OpCode::Data(opcode), tail.is_empty());
        sink.feed(Message::Frame(frame)).await?;
        if tail.is_empty() {
            return sink.flush().await;
        }
        (rest, opcode) = (tail, Data::Continue);
    }
}

/// Reports the messages that arrive, and returns why no more do.
async fn read(
    stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    reports: &mpsc::Sender<Report>,
    replaced: &watch::Receiver<bool>,
) -> String {
    while let Some(message) = stream.next().await {
        let event = match message {
            Ok(Message::Text(text)) => parse(&text),
            Ok(Message::Close(frame)) => {
                // Reading on is what sends the answer.
                let _answered = timeout(CLOSE, stream.next()).await;
                return frame.map_or_else(
                    || "closed by the cloud".to_owned(),
                    |frame| format!("closed by the cloud ({} {})", frame.code, frame.reason),
                );
            }
            Ok(Message::Binary(_)) => LinkEvent::Unreadable("a binary message".to_owned()),
            Ok(_) => continue,
            Err(error) => return describe(&error),
        };
        // A late pong would count as proof that the newer connection works.
        if *replaced.borrow() && is_pong(&event) {
            continue;
        }
        if reports.send((event, None)).await.is_err() {
            return "the agent ends".to_owned();
        }
    }
    "the connection ended".to_owned()
}

fn is_pong(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::Message(envelope)
        if matches!(envelope.message, CloudMessage::HeartbeatPong(_)))
}

fn parse(text: &str) -> LinkEvent {
    match decode::<CloudMessage>(text) {
        Ok((envelope, _)) => LinkEvent::Message(Box::new(envelope)),
        Err(error) => match serde_json::from_str(text) {
            Ok(GatewayError {
                message,
                request_id,
            }) => LinkEvent::GatewayError(shorten(
                &format!("{message}, request {request_id}"),
                FAILURE_CHARS,
            )),
            Err(_) => LinkEvent::Unreadable(error.to_string()),
        },
    }
}

/// API Gateway's error message when a message's function failed: without an envelope.
#[derive(Deserialize)]
struct GatewayError {
    message: String,
    #[serde(rename = "requestId")]
    request_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_gateway_differs_from_a_text_that_is_no_message() {
        let error =
            r#"{"message": "Internal server error", "connectionId":"c=", "requestId":"r="}"#;
        let LinkEvent::GatewayError(problem) = parse(error) else {
            panic!("not parsed as the gateway's error");
        };
        assert_eq!(problem, "Internal server error, request r=");
        for text in ["{}", "no JSON", r#"{"message": "hello"}"#] {
            assert!(matches!(parse(text), LinkEvent::Unreadable(_)));
        }
    }
}
