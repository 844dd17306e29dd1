//! Tickets: temporary permissions of the app to post to a `response_url` or to open a modal.

use std::collections::VecDeque;

use crate::error::Code;
use crate::limits;
use crate::ts::Ts;

/// The number of tickets that are kept.
const KEPT: usize = 1_000;

/// The permission to respond to one interaction.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) channel: String,
    pub(crate) user: String,
    /// The message whose button was pressed, if that was the interaction.
    pub(crate) message: Option<Ts>,
    /// The time at which the ticket was issued, in Unix seconds.
    pub(crate) issued: u64,
    /// The number of responses so far.
    pub(crate) used: u8,
}

/// The newest tickets, by id.
#[derive(Debug, Default)]
pub(crate) struct Tickets(VecDeque<(String, Ticket)>);

impl Tickets {
    pub(crate) fn add(&mut self, id: String, ticket: Ticket) {
        self.0.push_back((id, ticket));
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// Uses a `response_url` once more.
    pub(crate) fn respond(&mut self, id: &str, now_secs: u64) -> Result<Ticket, Code> {
        let found = self.0.iter_mut().find(|(known, _)| known == id);
        let (_, ticket) = found.ok_or(Code::ExpiredUrl)?;
        if now_secs > ticket.issued + limits::RESPONSE_SECS {
            return Err(Code::ExpiredUrl);
        }
        if ticket.used >= limits::RESPONSES {
            return Err(Code::UsedUrl);
        }
        ticket.used += 1;
        Ok(ticket.clone())
    }

    /// Uses a `trigger_id`, which opens one modal.
    pub(crate) fn trigger(&mut self, id: &str, now_secs: u64) -> Result<Ticket, Code> {
        let at = self.0.iter().position(|(known, _)| known == id);
        let (_, ticket) = at
            .and_then(|at| self.0.remove(at))
            .ok_or(Code::InvalidTriggerId)?;
        if now_secs > ticket.issued + limits::TRIGGER_SECS {
            return Err(Code::ExpiredTriggerId);
        }
        Ok(ticket)
    }
}
