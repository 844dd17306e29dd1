//! What tests are written with.

mod breaker;
mod card;
mod channel;
mod ports;
mod program;
mod test;
mod trace;
mod wait;
mod webhook;

pub(crate) use bematic_test_agent::{Client as TestAgent, HandshakeHeaders, Offer, TypeSpelling};
pub(crate) use card::{Card, shown};
pub(crate) use channel::Channel;
pub(crate) use ports::listening_addresses;
pub(crate) use program::{Program, binary};
pub(crate) use test::{Test, stack, unique};
pub(crate) use wait::{LIMIT, eventually, eventually_within};
pub(crate) use webhook::Webhook;
