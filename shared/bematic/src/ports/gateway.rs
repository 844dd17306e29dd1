//! The port to the sending side of the WebSocket API.

use async_trait::async_trait;
use bematic_protocol::{
    ids::ConnectionId,
    messages::{CloudMessage, TypeSpelling},
};

use crate::error::GatewayError;

/// Whether API Gateway accepted a message for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SendOutcome {
    /// API Gateway accepted the message. (The connection may still have just ended.)
    Sent,
    /// The connection is gone.
    Gone,
}

/// The sending side of the WebSocket API.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Sends a message in the spelling of the connection.
    async fn send(
        &self,
        connection: &ConnectionId,
        spelling: TypeSpelling,
        message: CloudMessage,
    ) -> Result<SendOutcome, GatewayError>;
    /// Closes a connection; a connection that is gone counts as closed.
    async fn close(&self, connection: &ConnectionId) -> Result<(), GatewayError>;
}
