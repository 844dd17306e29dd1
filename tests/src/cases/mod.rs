//! The tests, a module for each part of what a person would notice.

mod absence;
mod authentication;
mod bad_messages;
mod bad_requests;
mod cancellation;
mod commands;
mod connections;
mod disorder;
mod dispatch;
mod endings;
mod happy_path;
mod leases;
mod page;
mod program;
mod queue;
mod reconnection;
mod shutdown;
mod slack_trouble;
mod timers;
