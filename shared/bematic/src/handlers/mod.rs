//! The handlers of the functions. A handler reads the state, lets the pure modules decide, writes,
//! then sends messages: after a failure in between the sender repeats its message, and the
//! repetition changes nothing but sends the messages again.

pub mod batch;
pub mod connect;
pub mod dispatch;
pub mod event;
pub mod message;
pub mod notify;
mod routing;
pub mod sqs;
pub mod sweep;
mod transitions;
mod view;
pub mod webhook;
