//! Slack: the requests from it, the texts that it shows, and the port to its Web API.

pub mod api;
pub(crate) mod card;
pub(crate) mod inbound;
mod message;
pub(crate) mod mrkdwn;
pub mod signature;
pub(crate) mod text;

pub use message::{CommandReply, Message};
