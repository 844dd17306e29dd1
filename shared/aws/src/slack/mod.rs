//! The adapter to Slack's Web API.

mod client;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{ClientError, DEFAULT_URL, SlackClient, Transport};
