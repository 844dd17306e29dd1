//! The rules of Bematic, without I/O; the [`ports`], which the crate `bematic-aws` implements; and the
//! [`handlers`], which connect the two.

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
