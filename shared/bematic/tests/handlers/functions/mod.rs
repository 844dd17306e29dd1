//! One module a function.

mod connect;
mod dispatch;
mod message;
mod notify;
mod secrets;
mod trust;
mod webhook;
