//! The rules of Bematic, without I/O.
//!
//! The modules [`task`], [`agent`], [`breaker`], [`mod@batch`] and [`command`], and the rendering
//! in [`slack`], decide. They read no clock: the time is passed in as `now`. The traits in
//! [`ports`] describe the outside world; the crate `bematic-aws` implements them. The [`handlers`]
//! connect the two.

pub mod access;
pub mod agent;
pub mod audit;
pub mod batch;
pub mod breaker;
pub mod command;
pub mod dead_letter;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod handlers;
pub mod ports;
pub mod secret;
pub mod slack;
pub mod task;
