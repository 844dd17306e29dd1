//! The connection to the cloud: opens it, again and again, and carries text both ways.

mod handshake;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bematic_protocol::messages::{CloudMessage, Envelope, decode, limits::MAX_FRAME_BYTES};
use futures_util::{SinkExt, Stream, StreamExt, stream::SplitSink};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use self::handshake::{Failure, Socket, connect, describe_error};
use crate::{backoff::jittered_delay, config::Config, text::shorten};

/// The age from which a connection was a good one: the next failure starts from a short wait.
const STABLE_CONNECTION_AGE: Duration = Duration::from_secs(30);
/// Time that the other side may take to agree to a close.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time that the network may take to accept one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Characters of the gateway's error message that are reported.
const GATEWAY_ERROR_CHARS: usize = 300;
/// Bytes of text in a frame: with room for the header, and then some.
const FRAME_TEXT_BYTES: usize = MAX_FRAME_BYTES - 2048;

#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    Connecting,
    /// A connection is ready, in place of an older one if there was one. Messages that still come
    /// over the older one are reported as before, and its end is not.
    Connected {
        handle: ConnectionHandle,
        /// The time after which the connection is to be replaced.
        renew_in: Duration,
    },
    /// The connection could not be replaced; the present one goes on.
    NotRenewed {
        reason: String,
        /// The time after which to try again.
        retry_in: Duration,
    },
    Message(Box<Envelope<CloudMessage>>),
    /// API Gateway's error that some message's function failed.
    GatewayError(String),
    /// A text that is no message, with the reason.
    Unreadable(String),
    Disconnected {
        reason: String,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The cloud does not know this agent or its key; there is no next attempt.
    Refused(String),
}

/// The sender's end of a connection, which is closed when all clones of the handle are dropped.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionHandle {
    /// The messages to send; closed when the connection is gone.
    pub(crate) texts: mpsc::Sender<String>,
    /// Requests a new connection in place of this one.
    pub(crate) renewal: Arc<Notify>,
}

type EventSender = mpsc::Sender<ConnectionEvent>;

/// Keeps a connection until `events` is closed, or the key is refused.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a connection lasted decides how soon the next is tried"
)]
pub(crate) async fn run(config: Arc<Config>, api_key: SecretString, events: EventSender) {
    let mut failures = 0;
    while events.send(ConnectionEvent::Connecting).await.is_ok() {
        let reason = match connect(&config, &api_key).await {
            Ok(socket) => {
                let began = Instant::now();
                let reason = run_with_renewals(socket, &config, &api_key, &events).await;
                failures = failures_after_connection(began.elapsed(), failures);
                reason
            }
            Err(Failure::Temporary(reason)) => reason,
            Err(Failure::Refused(reason)) => {
                let _exiting = events.send(ConnectionEvent::Refused(reason)).await;
                return;
            }
        };
        let retry_in = count_failure_and_delay(&config, &mut failures);
        let disconnected = ConnectionEvent::Disconnected { reason, retry_in };
        let _received = events.send(disconnected).await;
        sleep(retry_in).await;
    }
}

/// The number of failures that count after a connection that lasted so long.
fn failures_after_connection(lasted: Duration, failures: u32) -> u32 {
    if lasted >= STABLE_CONNECTION_AGE {
        0
    } else {
        failures
    }
}

/// Counts a failure, and returns the wait after it.
fn count_failure_and_delay(config: &Config, failures: &mut u32) -> Duration {
    let wait = jittered_delay(config.timings.reconnect, *failures, random());
    *failures = failures.saturating_add(1);
    wait
}

/// The age at which a connection is to be replaced: up to a tenth more than `earliest`. `random` is
/// from 0 to 1.
fn renew_in(earliest: Duration, random: f64) -> Duration {
    earliest + (earliest / 10).mul_f64(random)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that needs chance: agents must not come back all at once"
)]
fn random() -> f64 {
    rand::random()
}

/// Carries text over a connection and those that replace it. Returns why the last one ended.
async fn run_with_renewals(
    mut socket: Socket,
    config: &Config,
    api_key: &SecretString,
    events: &EventSender,
) -> String {
    loop {
        let (texts, outgoing) = mpsc::channel(1);
        let renewal = Arc::new(Notify::new());
        let replaced = Arc::new(AtomicBool::new(false));
        // Once it is replaced, the connection ends by itself.
        let mut connection = tokio::spawn(run_socket(
            socket,
            outgoing,
            events.clone(),
            replaced.clone(),
            config.timings.linger,
        ));
        let connected = ConnectionEvent::Connected {
            handle: ConnectionHandle {
                texts,
                renewal: renewal.clone(),
            },
            renew_in: renew_in(config.timings.renew, random()),
        };
        // The event is lost only when the agent exits; then the connection ends, too.
        let _received = events.send(connected).await;
        let mut failures = 0;
        socket = loop {
            tokio::select! {
                reason = &mut connection => return reason.unwrap_or_else(|error| error.to_string()),
                () = renewal.notified() => {}
            }
            // The cloud closes this connection as soon as it has the new one, which may be
            // before the agent has it: only after the attempt does its end count.
            match connect(config, api_key).await {
                Ok(next) => break next,
                Err(Failure::Temporary(reason) | Failure::Refused(reason)) => {
                    let retry_in = count_failure_and_delay(config, &mut failures);
                    let event = ConnectionEvent::NotRenewed { reason, retry_in };
                    let _received = events.send(event).await;
                }
            }
        };
        replaced.store(true, Ordering::Relaxed);
    }
}

/// Carries text until a connection ends, and returns why it ended. Once the connection is
/// `replaced` and its handle dropped, it is still read for `linger`.
async fn run_socket(
    socket: Socket,
    texts: mpsc::Receiver<String>,
    events: EventSender,
    replaced: Arc<AtomicBool>,
    linger: Duration,
) -> String {
    let (mut sink, mut stream) = socket.split();
    let mut reading = pin!(read_loop(&mut stream, &events, &replaced));
    let writing = tokio::select! {
        reason = &mut reading => return reason,
        written = write_loop(&mut sink, texts) => written,
    };
    if let Err(reason) = writing {
        return reason;
    }
    if replaced.load(Ordering::Relaxed)
        && let Ok(reason) = timeout(linger, &mut reading).await
    {
        return reason;
    }
    // The connection ends either way.
    let _closed = timeout(CLOSE_TIMEOUT, sink.close()).await;
    // Messages before the answer to the close still count.
    let _answered = timeout(CLOSE_TIMEOUT, reading).await;
    "closed by the agent".to_owned()
}

/// Sends the texts of the handle, until that is dropped.
async fn write_loop(
    sink: &mut SplitSink<Socket, Message>,
    mut texts: mpsc::Receiver<String>,
) -> Result<(), String> {
    while let Some(text) = texts.recv().await {
        timeout(SEND_TIMEOUT, send_in_frames(sink, &text))
            .await
            .map_err(|_| "the network does not take what is sent".to_owned())?
            .map_err(|error| describe_error(&error))?;
    }
    Ok(())
}

/// Sends a message in frames that API Gateway accepts: several if the message is large.
async fn send_in_frames(sink: &mut SplitSink<Socket, Message>, text: &str) -> Result<(), Error> {
    let (mut rest, mut opcode) = (text, Data::Text);
    loop {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(FRAME_TEXT_BYTES));
        let frame = Frame::message(head.to_owned(), OpCode::Data(opcode), tail.is_empty());
        sink.feed(Message::Frame(frame)).await?;
        if tail.is_empty() {
            return sink.flush().await;
        }
        (rest, opcode) = (tail, Data::Continue);
    }
}

/// Reports the messages that arrive, and returns why no more do.
async fn read_loop(
    stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    events: &EventSender,
    replaced: &AtomicBool,
) -> String {
    while let Some(message) = stream.next().await {
        let event = match message {
            Ok(Message::Text(text)) => event_of_text(&text),
            Ok(Message::Close(frame)) => {
                // Reading on is what sends the answer.
                let _answered = timeout(CLOSE_TIMEOUT, stream.next()).await;
                return frame.map_or_else(
                    || "closed by the cloud".to_owned(),
                    |frame| {
                        let why = format!("{} {}", frame.code, frame.reason);
                        format!("closed by the cloud ({})", why.trim_end())
                    },
                );
            }
            Ok(Message::Binary(_)) => ConnectionEvent::Unreadable("a binary message".to_owned()),
            Ok(_) => continue,
            Err(error) => return describe_error(&error),
        };
        // A late pong would count as proof that the newer connection works.
        if replaced.load(Ordering::Relaxed)
            && let ConnectionEvent::Message(envelope) = &event
            && let CloudMessage::HeartbeatPong(_) = envelope.message
        {
            continue;
        }
        if events.send(event).await.is_err() {
            return "the agent ends".to_owned();
        }
    }
    "the connection ended".to_owned()
}

fn event_of_text(text: &str) -> ConnectionEvent {
    match decode::<CloudMessage>(text) {
        Ok((envelope, _)) => ConnectionEvent::Message(Box::new(envelope)),
        Err(error) => match serde_json::from_str(text) {
            Ok(GatewayError {
                message,
                request_id,
            }) => ConnectionEvent::GatewayError(shorten(
                &format!("{message}, request {request_id}"),
                GATEWAY_ERROR_CHARS,
            )),
            Err(_) => ConnectionEvent::Unreadable(error.to_string()),
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
    fn a_connection_that_lasted_makes_the_next_wait_short_again() {
        assert_eq!(failures_after_connection(Duration::from_secs(29), 5), 5);
        assert_eq!(failures_after_connection(Duration::from_secs(30), 5), 0);
    }

    #[test]
    fn connections_are_replaced_at_random_well_before_two_hours() {
        let at = |random| renew_in(Duration::from_mins(105), random).as_secs_f64() / 60.0;
        assert_eq!((at(0.0), at(1.0)), (105.0, 115.5));
        assert!(at(0.5) > 110.0 && at(0.5) < 110.5);
    }

    #[test]
    fn an_error_of_the_gateway_differs_from_a_text_that_is_no_message() {
        let error =
            r#"{"message": "Internal server error", "connectionId":"c=", "requestId":"r="}"#;
        let ConnectionEvent::GatewayError(problem) = event_of_text(error) else {
            panic!("not parsed as the gateway's error");
        };
        assert_eq!(problem, "Internal server error, request r=");
        for text in ["{}", "no JSON", r#"{"message": "hello"}"#] {
            assert!(matches!(
                event_of_text(text),
                ConnectionEvent::Unreadable(_)
            ));
        }
    }
}
