//! Slack: the requests from it, the texts that it shows, and the port to its Web API.
//!
//! [`signature`] and [`inbound`] make a request an owned value; [`card`], [`text`] and [`mrkdwn`]
//! render without I/O; [`api`] is the port to the Web API, with its adapter behind the feature
//! `slack`.

pub mod api;
pub mod card;
pub mod inbound;
mod message;
pub mod mrkdwn;
pub mod signature;
pub mod text;

pub use message::{Message, Reply, ResponseType};
