//! Tickets: temporary permissions of the app to post to a `response_url` or to open a modal.

use crate::error::Code;
use crate::limits;
use crate::place::{Place, Ticket};
use crate::ts::Ts;
use crate::workspace::Workspace;

/// The number of tickets that are kept.
const KEPT: usize = 1_000;

impl Workspace {
    /// Issues a ticket, and returns its id for a `response_url` or as a `trigger_id`.
    pub(crate) fn issue(&mut self, prefix: &str, place: &Place, message: Option<Ts>) -> String {
        let ticket = Ticket {
            place: place.clone(),
            message,
            issued: self.config.clock.secs(),
            used: 0,
        };
        let id = self.id(prefix);
        self.tickets.push_back((id.clone(), ticket));
        if self.tickets.len() > KEPT {
            self.tickets.pop_front();
        }
        id
    }

    /// Uses a `response_url` once more.
    pub(crate) fn use_response_url(&mut self, id: &str) -> Result<Ticket, Code> {
        let found = self.tickets.iter_mut().find(|(known, _)| known == id);
        let (_, ticket) = found.ok_or(Code::ExpiredUrl)?;
        if self.config.clock.secs() > ticket.issued + limits::RESPONSE_SECS {
            return Err(Code::ExpiredUrl);
        }
        if ticket.used >= limits::RESPONSES {
            return Err(Code::UsedUrl);
        }
        ticket.used += 1;
        Ok(ticket.clone())
    }

    /// Uses a `trigger_id`, which opens one modal, of the returned user.
    pub(crate) fn use_trigger(&mut self, id: &str) -> Result<String, Code> {
        let at = self.tickets.iter().position(|(known, _)| known == id);
        let ticket = at.and_then(|at| self.tickets.remove(at));
        let (_, ticket) = ticket.ok_or(Code::InvalidTriggerId)?;
        if self.config.clock.secs() > ticket.issued + limits::TRIGGER_SECS {
            return Err(Code::ExpiredTriggerId);
        }
        Ok(ticket.place.user.id)
    }
}
