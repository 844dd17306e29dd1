//! The rules of Bematic, and its adapters to AWS and Slack.

pub mod command;
pub mod ids;
mod number;
pub mod protocol;
pub mod slack;
pub mod task;
pub mod time;
