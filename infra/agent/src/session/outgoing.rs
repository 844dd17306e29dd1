//! One message on its way.

use bematic::protocol::{AgentMessage, Envelope};
use tokio::time::Instant;

use crate::event::RunKey;

/// A message and what is known of its way.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) envelope: Envelope<AgentMessage>,
    pub(super) run: Option<RunKey>,
    /// How many heartbeats had been sent over the connection before it.
    pub(super) heartbeats: u64,
    pub(super) sends: u32,
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
            sends: 0,
            resend_at: None,
            dropped: 0,
        }
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
