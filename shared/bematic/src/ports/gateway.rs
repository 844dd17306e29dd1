//! The sending side of the WebSocket API.

use async_trait::async_trait;
use bematic_protocol::{
    ids::ConnectionId,
    messages::{CloudMessage, Spelling},
};

use crate::error::GatewayError;

/// Whether a message reached API Gateway for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// It was taken. (It may still go to a connection that just died.)
    Sent,
    /// The connection is gone.
    Gone,
}

/// The sending side of the WebSocket API.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Sends a message, spelled as the connection spells.
    async fn send(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message: CloudMessage,
    ) -> Result<Delivery, GatewayError>;
    /// Closes a connection; one that is gone is closed already.
    async fn close(&self, connection: &ConnectionId) -> Result<(), GatewayError>;
}
