//! What the cloud could not handle, or does not want.

use bematic_protocol::{
    ids::MessageId,
    messages::{AgentMessage, SystemError},
};
use tokio::time::Instant;

use super::{outgoing::Outgoing, sent::Fate, state::Session};
use crate::ui::Notice;

/// What an error says of the message that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It would be refused again, for its form.
    Unreadable,
    /// It speaks of what is not the agent's; results are confirmed all the same.
    Unwanted,
    /// It may be handled later: everything else, so that nothing is lost to a code that is newer
    /// than this agent.
    Passing,
}

impl Verdict {
    fn of(code: &str) -> Self {
        match code {
            "UNKNOWN_MESSAGE_TYPE" | "MESSAGE_TOO_LARGE" => Self::Unreadable,
            "UNKNOWN_TASK" | "NOT_YOUR_TASK" | "TASK_NOT_HELD" | "AGENT_MISMATCH" => Self::Unwanted,
            code if code.starts_with("INVALID_") => Self::Unreadable,
            _ => Self::Passing,
        }
    }
}

impl Session {
    pub(super) fn on_system_error(&mut self, error: SystemError, now: Instant) {
        let SystemError {
            code,
            message,
            message_id,
        } = error;
        let fate = message_id.map(|id| self.judge(&id, Verdict::of(&code), now));
        self.tell(match fate {
            Some(Fate::Again(kind)) => Notice::Warning {
                message: format!("the cloud could not handle {kind} ({code}: {message}); it is sent again"),
            },
            Some(Fate::GivenUp(kind)) => Notice::Error {
                message: format!("the cloud could not handle {kind} ({code}: {message}); it was sent often enough and is given up"),
            },
            Some(Fate::Unknown) | None => Notice::Error {
                message: format!("the cloud reports {code}: {message}"),
            },
        });
    }

    fn judge(&mut self, id: &MessageId, verdict: Verdict, now: Instant) -> Fate {
        match verdict {
            Verdict::Unreadable => self.outbox.forget(id),
            Verdict::Unwanted => self.outbox.unwanted(id),
            Verdict::Passing => {
                return self.outbox.refused(id, now, self.settings.timings.retry);
            }
        }
        Fate::Unknown
    }

    /// API Gateway could not have a message handled, and does not say which.
    pub(super) fn on_gateway_error(&mut self, problem: &str, now: Instant) {
        self.outbox.doubt(now, self.settings.timings.retry);
        self.warn(format!("the gateway could not have a message handled ({problem}); what was sent lately is sent again"));
    }

    /// Sends again what has waited long enough.
    pub(super) fn send_again(&mut self, now: Instant) {
        let resent = self.outbox.resend(now);
        for run in resent.given_up {
            self.warn(format!(
                "the cloud never confirmed the result of {run}; it is not sent again"
            ));
        }
        for outdated in resent.outdated {
            self.say_anew(outdated);
        }
    }

    /// What the agent says of itself is said as it is now.
    fn say_anew(&mut self, outdated: Outgoing) {
        let message = match outdated.envelope.message {
            AgentMessage::AgentStatus(_) => self.status(self.availability()),
            AgentMessage::HeartbeatPong(report) => self.report(report.server_time),
            other => other,
        };
        let mut message = self.outgoing(message, None);
        message.refusals = outdated.refusals;
        self.outbox.urgent(message);
    }
}
