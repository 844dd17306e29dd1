//! The agent protocol: the [`messages`] with their JSON Schema, and the [`ids`] and [`time`] that
//! they contain. The crate does no I/O, and has nothing that only the cloud needs.

pub mod ids;
pub mod messages;
mod number;
pub mod time;
