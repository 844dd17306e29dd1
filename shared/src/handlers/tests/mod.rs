//! What no handler shows alone: whole lives of tasks, with failures, time and disorder.

mod cancelling;
mod disorder;
mod faults;
mod presence;
mod timers;
