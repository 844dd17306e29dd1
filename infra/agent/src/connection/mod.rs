//! The socket: connects, again and again, and carries text both ways.

mod backoff;
mod endpoint;
mod failure;
mod frames;
mod handshake;
mod talk;

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinSet},
    time::{Instant, sleep},
};

use self::{
    backoff::Backoff,
    failure::Failure,
    handshake::{Socket, connect},
};
pub use self::{
    endpoint::Endpoint,
    talk::{CLOSE, Line, Report},
};
use crate::event::LinkEvent;

/// A connection that held so long was a good one: the next failure starts from a short wait.
const STABLE: Duration = Duration::from_secs(30);

/// Keeps a connection until nobody listens to `reports`, or the key is refused.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a connection lasted decides how soon the next is tried"
)]
pub async fn run(endpoint: Endpoint, reports: mpsc::Sender<Report>) {
    let mut backoff = Backoff::new(endpoint.reconnect);
    let mut keeper = Keeper {
        endpoint,
        reports,
        connections: JoinSet::new(),
    };
    loop {
        if !keeper.report(LinkEvent::Connecting).await {
            return;
        }
        let reason = match connect(&keeper.endpoint).await {
            Ok(socket) => {
                let began = Instant::now();
                let reason = keeper.keep(socket).await;
                if began.elapsed() >= STABLE {
                    backoff.reset();
                }
                reason
            }
            Err(Failure::Passing(reason)) => reason,
            Err(Failure::Refused(reason)) => {
                // Nobody listens only when the agent itself ends.
                let _heard = keeper.report(LinkEvent::Refused(reason)).await;
                return;
            }
        };
        let retry_in = backoff.next(random());
        if !keeper.report(LinkEvent::Down { reason, retry_in }).await {
            return;
        }
        sleep(retry_in).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that needs chance: agents must not come back all at once"
)]
fn random() -> f64 {
    rand::random()
}

/// When a connection is to be replaced: up to a tenth later than `earliest`. `random` is from 0 to 1.
fn renew_in(earliest: Duration, random: f64) -> Duration {
    earliest + (earliest / 10).mul_f64(random.clamp(0.0, 1.0))
}

/// The connection there is, and those that it replaced and that are still read.
struct Keeper {
    endpoint: Endpoint,
    reports: mpsc::Sender<Report>,
    connections: JoinSet<String>,
}

impl Keeper {
    /// Says whether anybody listens.
    async fn report(&self, event: LinkEvent) -> bool {
        self.reports.send((event, None)).await.is_ok()
    }

    /// Carries text over a connection and those that take its place; returns why the last ended.
    async fn keep(&mut self, mut socket: Socket) -> String {
        let mut backoff = Backoff::new(self.endpoint.reconnect);
        loop {
            let (line, ends) = talk::line();
            let (replace, replaced) = watch::channel(false);
            let renew = ends.renew.clone();
            let conversation = talk::converse(
                socket,
                ends,
                self.reports.clone(),
                replaced,
                self.endpoint.linger,
            );
            let current = self.connections.spawn(conversation).id();
            let renew_in = renew_in(self.endpoint.renew, random());
            // Nobody listens only when the agent itself ends; then so does the connection.
            let up = (LinkEvent::Up { renew_in }, Some(line));
            let _heard = self.reports.send(up).await;
            socket = loop {
                tokio::select! {
                    reason = self.end_of(current) => return reason,
                    () = renew.notified() => {}
                }
                // The cloud closes this connection as soon as it has the new one, which may be
                // before the agent has it: only after the attempt does its end count.
                match connect(&self.endpoint).await {
                    Ok(next) => break next,
                    Err(Failure::Passing(reason) | Failure::Refused(reason)) => {
                        let retry_in = backoff.next(random());
                        self.report(LinkEvent::NotRenewed { reason, retry_in })
                            .await;
                    }
                }
            };
            backoff.reset();
            replace.send_replace(true);
        }
    }

    /// Waits for the end of the connection; those it replaced may end unnoticed.
    async fn end_of(&mut self, current: Id) -> String {
        loop {
            match self.connections.join_next_with_id().await {
                Some(Ok((id, reason))) if id == current => return reason,
                Some(Err(error)) if error.id() == current => return error.to_string(),
                Some(_) => {}
                None => return "the connection ended".to_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_replaced_at_random_well_before_two_hours() {
        let at = |random| renew_in(Duration::from_mins(105), random).as_secs_f64() / 60.0;
        assert_eq!((at(0.0), at(1.0)), (105.0, 115.5));
        assert!(at(0.5) > 110.0 && at(0.5) < 110.5);
    }
}
