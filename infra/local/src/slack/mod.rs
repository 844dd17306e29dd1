//! A small local Slack: the Web API that Bematic calls, the signed requests that Slack sends, and
//! a page on which a person reads and types.
//!
//! It is stricter than Slack where that finds a mistake early, never kinder. Everything is held in
//! memory, bounded, and served on the loopback interface only.
//!
//! To add a Web API method: write a function beside its family in [`api`](self) and name it in
//! `api::call`. To add a block type: name it in `blocks::KNOWN` and draw it in
//! `assets/slack/blocks.js`.

mod api;
mod args;
mod blocks;
mod chat;
mod client;
mod clock;
mod config;
mod content;
mod control;
mod conversations;
mod deliver;
mod error;
mod events;
mod faults;
mod interactions;
mod limits;
mod message;
mod page;
mod place;
mod respond;
mod say;
mod server;
mod sign;
mod state;
mod tickets;
mod ts;
mod typed;
mod views;
mod workspace;

pub use client::{Client, ClientError};
pub use clock::Clock;
pub use config::{Bot, Channel, Config, OPERATIONS, Team, User};
pub use deliver::Delivery;
pub use say::Said;
pub use server::{Server, StartError};
pub use sign::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
pub use ts::Ts;

#[cfg(test)]
mod tests;
