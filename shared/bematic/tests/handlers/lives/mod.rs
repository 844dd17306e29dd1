//! What no function shows alone: whole lives of tasks, with failures, time and disorder.

mod authentication;
mod breaker;
mod bulk;
mod cancelling;
mod conflicts;
mod connections;
mod dead_letters;
mod disorder;
mod faults;
mod health;
mod keys;
mod output;
mod presence;
mod repeats;
mod routing;
mod take_over;
mod timers;
mod trouble;
