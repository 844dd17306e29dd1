//! What an agent needs to speak to Bematic: [`ids`], [`time`], and the [`messages`] with their JSON
//! Schema. No I/O, and nothing that only the cloud needs.

pub mod ids;
pub mod messages;
mod number;
pub mod time;
