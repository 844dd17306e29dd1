//! The adapter to Slack's Web API: the client, and its requests and responses.

mod client;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{ClientSetupError, SlackClient, Transport};
