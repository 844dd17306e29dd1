//! The rules of Bematic, without I/O.
//!
//! [`task`], [`agent`], [`breaker`], [`mod@batch`], [`command`] and the rendering in [`slack`] decide: no
//! clock but a passed-in `now`. [`ports`] are the traits of the outside world; the crate `bematic-aws`
//! implements them. [`handlers`] join the two, one module a message or event.

pub mod agent;
pub mod batch;
pub mod breaker;
pub mod command;
pub mod dead_letter;
pub mod error;
pub mod handlers;
pub mod ports;
pub mod slack;
pub mod task;
