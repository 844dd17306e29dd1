//! The rules of Bematic, and its adapters to AWS and Slack.

pub mod agent;
#[cfg(feature = "aws")]
pub mod aws;
pub mod config;
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
#[cfg(feature = "aws")]
pub mod store;
pub mod task;
pub mod time;
