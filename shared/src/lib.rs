//! The rules of Bematic, and its adapters to AWS and Slack.

pub mod agent;
pub mod config;
pub mod error;
pub mod ids;
mod number;
pub mod ports;
pub mod protocol;
pub mod task;
pub mod time;
