//! A small local Slack: the Web API that an app calls, the signed requests that Slack sends, and a
//! page on which a person reads and types.
//!
//! The local Slack refuses everything that Slack refuses, and more where that finds a mistake early.
//! Its state is in memory, and bounded. [`Server`] serves it on the loopback interface; [`handle`]
//! and [`router`] serve it without a socket, to tests that call it in process.
//!
//! To add a Web API method: a function, in the module of its family if there is one (`chat`,
//! `conversations`), and an arm in `api::execute`. To add a block type: an arm in
//! `blocks::block_field_rules`, and its rendering in `assets/blocks.js`. Modules depend only on those
//! before them in this order: values (`ts`, `config`, `message`, …), `workspace`, `state`, requests
//! to the app (`deliver`, `events`, `interactions`), the Web API's methods, routes (`api`,
//! `control`, `page`), `web_page`, `server`.

mod api;
mod blocks;
mod call_arguments;
mod chat;
mod client;
mod clock;
mod config;
mod control;
mod conversations;
mod deliver;
mod error;
mod events;
mod faults;
mod interactions;
mod message;
mod page;
mod request;
mod respond;
mod say;
mod server;
mod state;
mod ts;
mod web_page;
mod workspace;

pub use client::{Client, ClientError};
pub use clock::Clock;
pub use config::{APP_ID, Channel, Config, OPERATIONS_CHANNEL_ID, TEAM_ID, User};
pub use deliver::DeliveryOutcome;
pub use error::Refusal;
pub use faults::Fault;
pub use message::{Author, Content, Message};
pub use request::{Mention, SIGNATURE_HEADER, SignedRequest, SlashCommand, TIMESTAMP_HEADER};
pub use say::SayOutcome;
pub use server::{Server, StartError, handle, router};
pub use state::Slack;
pub use ts::{InvalidTs, Ts};
pub use web_page::refuse_foreign_pages;

#[cfg(test)]
mod tests;
