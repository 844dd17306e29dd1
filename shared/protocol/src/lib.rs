//! The agent protocol: the [`messages`] with their JSON Schema, and their [`ids`] and [`time`].

pub mod ids;
pub mod messages;
mod number;
pub mod time;
