//! The tests, a module for each part of what a person would notice.

mod absence;
mod authentication;
mod bad_messages;
mod bad_requests;
mod breaker;
mod bulk;
mod cancellation;
mod commands;
mod connections;
mod dead_letters;
mod disorder;
mod dispatch;
mod endings;
mod happy_path;
mod health;
mod leases;
mod limits;
mod network;
mod page;
mod program;
mod queue;
mod reconnection;
mod recovery;
mod shutdown;
mod slack_trouble;
mod timers;
