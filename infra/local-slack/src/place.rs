//! Places of interactions, and the permission to respond to one.

use crate::config::{Channel, User};
use crate::ts::Ts;

/// A person in a channel, who acts there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) channel: Channel,
    pub(crate) user: User,
}

/// The permission to respond to one interaction.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// The person who acted.
    pub(crate) place: Place,
    /// The message whose button was pressed, if that was the interaction.
    pub(crate) message: Option<Ts>,
    /// The time at which the ticket was issued, in Unix seconds.
    pub(crate) issued: u64,
    /// The number of responses so far.
    pub(crate) used: u8,
}
