//! `ws-message` and `ws-heartbeat`: the messages from agents.
//!
//! To add a message: a method of `MessageRouter` in a module here, and an arm in `MessageRouter::handle_message`, which
//! the compiler asks for once the protocol has the variant. `ack` is a short example.

mod ack;
mod auth;
mod context;
mod heartbeat;
mod identity;
mod presence;
mod replies;
mod report;
mod router;
mod status;
mod terminal;

pub use self::router::MessageRouter;
