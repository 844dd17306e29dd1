//! What tests are written with.

mod agent;
mod breaker;
mod card;
mod channel;
mod program;
mod test;
mod trace;
mod wait;
mod webhook;
mod work;

pub(crate) use agent::{Handshake, Spelling, TestAgent};
pub(crate) use card::{Card, shown};
pub(crate) use channel::Channel;
pub(crate) use program::{Program, binary};
pub(crate) use test::{Test, stack};
pub(crate) use wait::{LIMIT, eventually, eventually_within};
pub(crate) use webhook::Webhook;
pub(crate) use work::Submitted;
