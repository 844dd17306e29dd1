//! One module a function, one a message type. A handler gets its collaborators through its
//! constructor, reads the state, lets the pure modules decide, writes, then sends: a failure in
//! between makes the sender repeat, and the repeat changes nothing but sends again.

pub mod authorize;
pub mod batch;
pub mod connect;
pub mod disconnect;
pub mod dispatch;
pub mod event;
pub mod message;
pub mod notify;
pub mod routing;
pub mod sqs;
pub mod sweep;
pub mod transitions;
mod view;
pub mod webhook;
