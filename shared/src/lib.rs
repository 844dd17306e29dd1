//! The rules of Bematic, and its adapters to AWS and Slack.
//!
//! [`protocol`], [`task`], [`agent`], [`mod@batch`] and [`command`] decide: no I/O, no clock but a passed-in
//! `now`. `store`, `queue`, `gateway` and [`slack::api`] act, each behind a trait of [`ports`].
//! [`handlers`] join them, one module a message or event.

pub mod agent;
#[cfg(feature = "aws")]
pub mod aws;
pub mod batch;
pub mod breaker;
pub mod command;
pub mod config;
pub mod dead_letter;
pub mod error;
#[cfg(feature = "aws")]
pub mod gateway;
pub mod handlers;
pub mod ids;
mod number;
pub mod ports;
pub mod protocol;
#[cfg(feature = "aws")]
pub mod queue;
pub mod slack;
#[cfg(feature = "aws")]
pub mod store;
pub mod task;
#[cfg(test)]
mod testing;
pub mod time;
