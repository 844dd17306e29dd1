//! The socket: connects, again and again, and carries text both ways.

mod handshake;
mod talk;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::{Id, JoinSet},
    time::{Instant, sleep},
};

use self::handshake::{Failure, Socket, connect};
pub(crate) use self::talk::{CLOSE, Line, Report};
use crate::{backoff::jittered, config::Config, event::LinkEvent};

/// The age from which a connection was a good one: the next failure starts from a short wait.
const STABLE: Duration = Duration::from_secs(30);

/// Keeps a connection until `reports` is closed, or the key is refused.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a connection lasted decides how soon the next is tried"
)]
pub(crate) async fn run(config: Arc<Config>, reports: mpsc::Sender<Report>) {
    let mut failures = 0;
    let mut keeper = Keeper {
        config,
        reports,
        connections: JoinSet::new(),
    };
    loop {
        if !keeper.report(LinkEvent::Connecting).await {
            return;
        }
        let reason = match connect(&keeper.config).await {
            Ok(socket) => {
                let began = Instant::now();
                let reason = keeper.keep(socket).await;
                failures = failures_after(began.elapsed(), failures);
                reason
            }
            Err(Failure::Passing(reason)) => reason,
            Err(Failure::Refused(reason)) => {
                keeper.report(LinkEvent::Refused(reason)).await;
                return;
            }
        };
        let retry_in = keeper.retry_in(&mut failures);
        if !keeper.report(LinkEvent::Down { reason, retry_in }).await {
            return;
        }
        sleep(retry_in).await;
    }
}

/// The number of failures that count after a connection that lasted so long.
fn failures_after(lasted: Duration, failures: u32) -> u32 {
    if lasted >= STABLE { 0 } else { failures }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that needs chance: agents must not come back all at once"
)]
fn random() -> f64 {
    rand::random()
}

/// The age at which a connection is to be replaced: up to a tenth more than `earliest`. `random` is
/// from 0 to 1.
fn renew_in(earliest: Duration, random: f64) -> Duration {
    earliest + (earliest / 10).mul_f64(random.clamp(0.0, 1.0))
}

/// The present connection, and those that it replaced and that are still read.
struct Keeper {
    config: Arc<Config>,
    reports: mpsc::Sender<Report>,
    connections: JoinSet<String>,
}

impl Keeper {
    /// Reports an event. Returns false once the agent no longer receives events.
    async fn report(&self, event: LinkEvent) -> bool {
        self.reports.send((event, None)).await.is_ok()
    }

    /// Counts a failure, and returns the wait after it.
    fn retry_in(&self, failures: &mut u32) -> Duration {
        let wait = jittered(self.config.timings.reconnect, *failures, random());
        *failures = failures.saturating_add(1);
        wait
    }

    /// Carries text over a connection and those that replace it. Returns why the last one ended.
    async fn keep(&mut self, mut socket: Socket) -> String {
        let timings = &self.config.timings;
        let (renew, linger) = (timings.renew, timings.linger);
        loop {
            let (texts, outgoing) = mpsc::channel(1);
            let renewal = Arc::new(Notify::new());
            let line = Line {
                texts,
                renewal: renewal.clone(),
            };
            let (replace, replaced) = watch::channel(false);
            let conversation =
                talk::converse(socket, outgoing, self.reports.clone(), replaced, linger);
            let current = self.connections.spawn(conversation).id();
            let renew_in = renew_in(renew, random());
            // The report is lost only when the agent exits; then the connection ends, too.
            let up = (LinkEvent::Up { renew_in }, Some(line));
            let _received = self.reports.send(up).await;
            let mut failures = 0;
            socket = loop {
                tokio::select! {
                    reason = self.end_of(current) => return reason,
                    () = renewal.notified() => {}
                }
                // The cloud closes this connection as soon as it has the new one, which may be
                // before the agent has it: only after the attempt does its end count.
                match connect(&self.config).await {
                    Ok(next) => break next,
                    Err(Failure::Passing(reason) | Failure::Refused(reason)) => {
                        let retry_in = self.retry_in(&mut failures);
                        self.report(LinkEvent::NotRenewed { reason, retry_in })
                            .await;
                    }
                }
            };
            replace.send_replace(true);
        }
    }

    /// Waits for the end of the present connection, and discards the ends of those it replaced.
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
    fn a_connection_that_lasted_makes_the_next_wait_short_again() {
        assert_eq!(failures_after(Duration::from_secs(29), 5), 5);
        assert_eq!(failures_after(Duration::from_secs(30), 5), 0);
    }

    #[test]
    fn connections_are_replaced_at_random_well_before_two_hours() {
        let at = |random| renew_in(Duration::from_mins(105), random).as_secs_f64() / 60.0;
        assert_eq!((at(0.0), at(1.0)), (105.0, 115.5));
        assert!(at(0.5) > 110.0 && at(0.5) < 110.5);
    }
}
