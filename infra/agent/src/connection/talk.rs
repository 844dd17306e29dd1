//! One connection, from its handshake to its end.

use std::{pin::pin, sync::Arc, time::Duration};

use bematic_protocol::messages::{CloudMessage, decode};
use futures_util::{SinkExt, Stream, StreamExt, stream::SplitSink};
use serde::Deserialize;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{self, Message};

use super::{failure, frames, handshake::Socket};
use crate::{event::LinkEvent, text::shorten};

/// How long the other side may take to agree to a close.
pub const CLOSE: Duration = Duration::from_secs(2);
/// How long the network may take to accept one message.
const SEND: Duration = Duration::from_secs(30);
/// Characters of the gateway's words that are passed on.
const FAILURE_CHARS: usize = 300;

/// A connection, for whoever sends over it. It is closed when all clones of this are dropped.
#[derive(Debug, Clone)]
pub struct Line {
    texts: mpsc::Sender<String>,
    renew: Arc<Notify>,
}

impl Line {
    /// Waits for room for one more message; `None` when the connection is gone.
    pub async fn room(self) -> Option<mpsc::OwnedPermit<String>> {
        self.texts.reserve_owned().await.ok()
    }

    /// Asks for a new connection in place of this one.
    pub fn renew(&self) {
        self.renew.notify_one();
    }
}

/// What happened to the connection; with [`LinkEvent::Up`] comes its line.
pub type Report = (LinkEvent, Option<Line>);

/// The other end of a [`Line`].
pub(super) struct Ends {
    texts: mpsc::Receiver<String>,
    /// What [`Line::renew`] wakes.
    pub(super) renew: Arc<Notify>,
}

/// A line and its other end.
pub(super) fn line() -> (Line, Ends) {
    let (sender, texts) = mpsc::channel(1);
    let renew = Arc::new(Notify::new());
    let line = Line {
        texts: sender,
        renew: renew.clone(),
    };
    (line, Ends { texts, renew })
}

/// Carries text until the connection ends; returns why it did. Once it is `replaced` and its line
/// dropped, it is still read for `linger`.
pub(super) async fn converse(
    socket: Socket,
    ends: Ends,
    reports: mpsc::Sender<Report>,
    replaced: watch::Receiver<bool>,
    linger: Duration,
) -> String {
    let (mut sink, mut stream) = socket.split();
    let mut reading = pin!(read(&mut stream, &reports, &replaced));
    let writing = tokio::select! {
        reason = &mut reading => return reason,
        written = write(&mut sink, ends.texts) => written,
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
    // What comes before the answer to the close still counts.
    let _answered = timeout(CLOSE, reading).await;
    "closed by the agent".to_owned()
}

/// Sends what comes over the line, until that is dropped.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut texts: mpsc::Receiver<String>,
) -> Result<(), String> {
    while let Some(text) = texts.recv().await {
        match timeout(SEND, frames::send(sink, &text)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failure::describe(&error)),
            Err(_) => return Err("the network does not take what is sent".to_owned()),
        }
    }
    Ok(())
}

/// Reports what comes; returns why no more does.
async fn read(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    reports: &mpsc::Sender<Report>,
    replaced: &watch::Receiver<bool>,
) -> String {
    while let Some(message) = stream.next().await {
        let event = match message {
            Ok(Message::Text(text)) => understand(&text),
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
            Err(error) => return failure::describe(&error),
        };
        // It would be taken for proof that the newer connection works.
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

fn understand(text: &str) -> LinkEvent {
    match decode::<CloudMessage>(text) {
        Ok((envelope, _)) => LinkEvent::Message(Box::new(envelope)),
        Err(error) => match serde_json::from_str(text) {
            Ok(Failure {
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

/// API Gateway's own words when a message's function failed: no envelope.
#[derive(Deserialize)]
struct Failure {
    message: String,
    #[serde(rename = "requestId")]
    request_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_words_are_told_from_what_is_no_message() {
        let words =
            r#"{"message": "Internal server error", "connectionId":"c=", "requestId":"r="}"#;
        let LinkEvent::GatewayError(problem) = understand(words) else {
            panic!("not taken for the gateway's");
        };
        assert_eq!(problem, "Internal server error, request r=");
        for text in ["{}", "no JSON", r#"{"message": "hello"}"#] {
            assert!(matches!(understand(text), LinkEvent::Unreadable(_)));
        }
    }
}
