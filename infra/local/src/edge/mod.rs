//! The edge: the limits that API Gateway enforces and the emulator does not, and on demand the failures
//! of a network. It is one server on 127.0.0.1 in front of the emulator, for agents and for the functions' calls to AWS.
//!
//! Always: 32 KB a frame and 128 KB a message (closed with 1009), 10 min idle and 2 h a connection
//! (closed with 1001), 128 KB for a post to a connection (413).
//!
//! On demand, by an agent for its own connection, with the parameter `disturb` in its URL
//! ([`disturbance`]): messages come out of order, twice, late or not at all, and the connection is
//! cut. On demand, by whoever holds the [`Edge`]: the functions' calls to AWS fail at random
//! ([`Edge::disturb_calls`]). The functions and the template know nothing of it.
//!
//! [`disturbance`] and [`line`] decide, without I/O or clock; [`handshake`] and [`connection`] carry
//! messages, [`relay`] carries calls, [`server`] serves.

mod connection;
mod disturbance;
mod handshake;
mod line;
mod relay;
mod server;
mod shared;
#[cfg(test)]
mod tests;

pub use disturbance::Limits;
pub use relay::CallCounts;
pub use server::Edge;
