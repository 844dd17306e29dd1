//! Permissions that the app gets for a while: to post to a `response_url`, to open a modal.

use std::collections::VecDeque;

use crate::error::Code;
use crate::limits;
use crate::ts::Ts;

/// Tickets that are remembered.
const MOST: usize = 1_000;

/// What the holder may do, and where.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) channel: String,
    pub(crate) user: String,
    /// The message that was acted on, if there was one.
    pub(crate) message: Option<Ts>,
    /// Unix seconds.
    pub(crate) issued: u64,
    pub(crate) used: u8,
}

/// The newest tickets, by id.
#[derive(Debug, Default)]
pub(crate) struct Tickets(VecDeque<(String, Ticket)>);

impl Tickets {
    pub(crate) fn add(&mut self, id: String, ticket: Ticket) {
        self.0.push_back((id, ticket));
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Uses a response address once more.
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

    /// Takes a trigger, which opens one modal.
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
