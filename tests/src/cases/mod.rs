//! The tests, a module for each part of what a person would notice.

mod authentication;
mod bad_messages;
mod bad_requests;
mod bulk;
mod commands;
mod connections;
mod dead_letters;
mod disorder;
mod dispatch;
mod endings;
mod happy_path;
mod limits;
mod network;
mod page;
mod program;
mod slack_trouble;
