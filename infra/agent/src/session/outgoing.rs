//! One message on its way.

use std::{mem::discriminant, time::Duration};

use bematic_protocol::messages::{AgentMessage, Envelope};
use tokio::time::Instant;

use crate::run_key::RunKey;

/// The longest wait between two sends of a result.
const MAX_RESEND: Duration = Duration::from_mins(10);
/// The longest wait until what the cloud could not handle is sent again.
const MAX_RETRY: Duration = Duration::from_mins(1);

/// What is known of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Nothing.
    Open,
    /// It has arrived, unless its failure is still to be reported.
    Proven,
    /// The cloud could not handle it, as far as is known: it waits to be sent again.
    Refused,
}

/// A message and what is known of its way.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) envelope: Envelope<AgentMessage>,
    pub(super) run: Option<RunKey>,
    /// How many heartbeats had been sent over the connection before it.
    pub(super) heartbeats: u64,
    pub(super) arrival: Arrival,
    pub(super) sent_at: Option<Instant>,
    /// How often it was sent and not refused.
    pub(super) sends: u32,
    pub(super) refusals: u32,
    pub(super) resend_at: Option<Instant>,
    /// Bytes of output that this message stands for instead of holding them.
    pub(super) dropped: usize,
}

impl Outgoing {
    pub(super) const fn new(envelope: Envelope<AgentMessage>, run: Option<RunKey>) -> Self {
        Self {
            envelope,
            run,
            heartbeats: 0,
            arrival: Arrival::Open,
            sent_at: None,
            sends: 0,
            refusals: 0,
            resend_at: None,
            dropped: 0,
        }
    }

    /// Notes that it goes out after so many heartbeats. A result is sent again after `resend`,
    /// which doubles each time.
    pub(super) fn goes_out(&mut self, now: Instant, heartbeats: u64, resend: Duration) {
        self.heartbeats = heartbeats;
        self.arrival = Arrival::Open;
        self.sent_at = Some(now);
        self.resend_at = self
            .is_terminal()
            .then(|| now + doubled(resend, self.sends, MAX_RESEND));
        self.sends += 1;
    }

    /// Has it sent again, after `first` the first time, then ever later. Several failures at once
    /// count as one.
    pub(super) fn refuse(&mut self, now: Instant, first: Duration) {
        if self.arrival == Arrival::Refused {
            return;
        }
        self.arrival = Arrival::Refused;
        self.resend_at = Some(now + doubled(first, self.refusals, MAX_RETRY));
        self.refusals += 1;
        self.sends = self.sends.saturating_sub(1);
    }

    /// Whether it takes the place of an earlier one: of the agent itself only the latest counts.
    pub(super) fn replaces(&self, earlier: &Self) -> bool {
        let kind = |of: &Self| discriminant(&of.envelope.message);
        self.run.is_none() && earlier.run.is_none() && kind(self) == kind(earlier)
    }

    /// Whether it may be given up when the cloud cannot handle it for long.
    pub(super) const fn is_expendable(&self) -> bool {
        self.run.is_some() && !self.is_terminal()
    }

    /// Whether it answers a heartbeat of the cloud's.
    pub(super) const fn is_pong(&self) -> bool {
        matches!(self.envelope.message, AgentMessage::HeartbeatPong(_))
    }

    /// Whether it tells a task's end, which must not be lost.
    pub(super) const fn is_terminal(&self) -> bool {
        use AgentMessage::{TaskCancelled, TaskComplete, TaskError};
        matches!(
            self.envelope.message,
            TaskComplete(_) | TaskError(_) | TaskCancelled(_)
        )
    }

    /// Whether it is an answer that the cloud waits for, whatever the connection.
    pub(super) const fn is_answer(&self) -> bool {
        use AgentMessage::{HeartbeatPong, TaskAck};
        matches!(self.envelope.message, TaskAck(_) | HeartbeatPong(_))
    }

    /// Whether it gives a task back.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(&self.envelope.message, AgentMessage::TaskAck(ack) if !ack.accepted)
    }

    /// About how many bytes it takes; the rest of a message is small.
    pub(super) fn bytes(&self) -> usize {
        const REST: usize = 256;
        REST + match &self.envelope.message {
            AgentMessage::TaskStream(stream) => stream.delta.len(),
            AgentMessage::TaskProgress(progress) => {
                progress.steps.iter().flatten().map(String::len).sum()
            }
            _ => 0,
        }
    }

    /// The output that it holds.
    pub(super) fn output(&self) -> Option<&str> {
        match &self.envelope.message {
            AgentMessage::TaskStream(stream) => Some(&stream.delta),
            _ => None,
        }
    }

    /// Makes it tell that output is missing in its place.
    pub(super) fn note_dropped(&mut self, bytes: usize) {
        self.dropped += bytes;
        if let AgentMessage::TaskStream(stream) = &mut self.envelope.message {
            stream.delta = format!(
                "\n[… {} bytes of output were dropped while the agent was not connected …]\n",
                self.dropped
            );
        }
    }
}

/// A wait that doubles `times`, up to `max`.
fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(max)
}
