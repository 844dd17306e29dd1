//! The adapter to API Gateway's management API, which sends messages to agents.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::{
    Client, config::Builder, error::ProvideErrorMetadata, primitives::Blob,
};
use bematic::{
    error::{GatewayError, Source},
    ports::{Delivery, Gateway},
};
use bematic_protocol::{
    ids::{ConnectionId, Ids},
    messages::{CloudMessage, Envelope, Spelling},
    time::Clock,
};

/// Sends messages over WebSocket connections, and closes them.
#[derive(Clone)]
pub struct ApiGateway {
    client: Client,
    ids: Arc<dyn Ids>,
    clock: Arc<dyn Clock>,
}

impl ApiGateway {
    /// Creates an adapter for the stage's management endpoint,
    /// `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    pub fn new(
        config: &SdkConfig,
        endpoint: String,
        ids: Arc<dyn Ids>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let config = Builder::from(config).endpoint_url(endpoint).build();
        Self {
            client: Client::from_conf(config),
            ids,
            clock,
        }
    }
}

#[async_trait]
impl Gateway for ApiGateway {
    async fn send(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message: CloudMessage,
    ) -> Result<Delivery, GatewayError> {
        let envelope = Envelope {
            id: self.ids.message(),
            timestamp: self.clock.now(),
            message,
        };
        let text = envelope.encode(spelling)?;
        let call = self
            .client
            .post_to_connection()
            .connection_id(connection.as_str());
        match call.data(Blob::new(text)).send().await {
            Ok(_) => Ok(Delivery::Sent),
            Err(error) if is_gone(error.as_service_error()) => Ok(Delivery::Gone),
            Err(error) => Err(failed("PostToConnection", Box::new(error))),
        }
    }

    async fn close(&self, connection: &ConnectionId) -> Result<(), GatewayError> {
        match self
            .client
            .delete_connection()
            .connection_id(connection.as_str())
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_gone(error.as_service_error()) => Ok(()),
            Err(error) => Err(failed("DeleteConnection", Box::new(error))),
        }
    }
}

/// Whether API Gateway answered 410: the connection does not exist (any more, or yet).
fn is_gone<E: ProvideErrorMetadata>(error: Option<&E>) -> bool {
    error.and_then(ProvideErrorMetadata::code) == Some("GoneException")
}

fn failed(operation: &'static str, source: Source) -> GatewayError {
    GatewayError::Call { operation, source }
}
