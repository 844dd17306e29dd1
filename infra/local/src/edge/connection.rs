//! One agent's connection, from its two handshakes to its end.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge delays real messages in real time"
)]

use std::future::pending;
use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::dice::{Direction, Fate, MessageDice};
use super::disturb::Disturbance;
use super::frames::framed;
use super::limits::Limits;
use super::line::Line;
use super::tally::Tally;

/// How long either side may take to agree to a close.
const CLOSE: Duration = Duration::from_secs(2);

/// What a connection is carried with.
pub(super) struct Carrier<'a> {
    /// How it is disturbed.
    pub(super) disturbance: &'a Disturbance,
    /// How many connections asked for the same before.
    pub(super) ordinal: u64,
    /// How long it may live.
    pub(super) limits: Limits,
    /// What was done to messages.
    pub(super) tally: &'a Tally,
    /// Cancelled when the edge ends.
    pub(super) stop: &'a CancellationToken,
}

/// How a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// With a goodbye, which the other side is told too.
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

impl Carrier<'_> {
    /// Carries messages both ways until either side ends it, or a limit or chance does.
    pub(super) async fn carry<A, C>(&self, agent: WebSocketStream<A>, cloud: WebSocketStream<C>)
    where
        A: AsyncRead + AsyncWrite + Unpin,
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut to_agent, mut from_agent) = agent.split();
        let (mut to_cloud, mut from_cloud) = cloud.split();
        let (beat, beats) = watch::channel(());
        let end = tokio::select! {
            biased;
            () = self.stop.cancelled() => End::Cut,
            end = self.pump(Direction::ToCloud, &beat).run(&mut from_agent, &mut to_cloud) => end,
            end = self.pump(Direction::ToAgent, &beat).run(&mut from_cloud, &mut to_agent) => end,
            () = silence(self.limits.idle, beats) => End::going_away(),
            () = sleep(self.limits.lifetime) => End::going_away(),
        };
        // The halves are of one whole: they always fit. Dropped, a socket is gone.
        let sockets = (to_agent.reunite(from_agent), to_cloud.reunite(from_cloud));
        if let (End::Closed(frame), (Ok(agent), Ok(cloud))) = (end, sockets) {
            tokio::join!(close(agent, frame.clone()), close(cloud, frame));
        }
    }

    fn pump<'a>(&'a self, direction: Direction, beat: &'a watch::Sender<()>) -> Pump<'a> {
        let Disturbance { seed, odds, .. } = *self.disturbance;
        Pump {
            dice: MessageDice::new(seed, self.ordinal, direction, odds),
            line: Line::new(),
            direction,
            beat,
            tally: self.tally,
        }
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
    tally: &'a Tally,
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
                    // Why that side is gone is seen by whoever reads from it.
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
                    if self.take(message) == Fate::Cut {
                        return End::Cut;
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    self.say_goodbye(to).await;
                    return End::Closed(frame);
                }
                // Pings are answered by the library, here as at API Gateway.
                Some(Ok(_)) => {}
                Some(Err(error)) => return End::of(&error),
                None => return End::Cut,
            }
        }
    }

    fn take(&mut self, message: Message) -> Fate {
        self.beat.send_replace(());
        let fate = self.dice.next();
        self.tally.add(fate);
        self.line.put(message, fate, Instant::now());
        fate
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

    /// What still waits is not lost by a goodbye in order.
    async fn say_goodbye(&mut self, to: &mut (impl Sink<Message, Error = Error> + Unpin)) {
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

/// Says goodbye, or answers one, and lets the other side end the connection: what it still sends is
/// read, since the goodbye would be lost with a connection that is reset.
async fn close<S>(mut socket: WebSocketStream<S>, frame: Option<CloseFrame>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        if socket.close(frame).await.is_err() {
            // It has said goodbye first: the answer is ready and is only sent.
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
