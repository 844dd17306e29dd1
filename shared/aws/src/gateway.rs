//! The adapter to API Gateway's management API, which sends messages to agents.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::{
    Client,
    config::Builder,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
};
use bematic::{
    error::GatewayError,
    ports::{Gateway, SendOutcome},
};
use bematic_protocol::{
    ids::{ConnectionId, IdGenerator},
    messages::{CloudMessage, Envelope, TypeSpelling},
    time::Clock,
};

/// Sends messages over WebSocket connections, and closes them.
#[derive(Clone)]
pub struct ApiGateway {
    client: Client,
    ids: Arc<dyn IdGenerator>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for ApiGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiGateway")
    }
}

impl ApiGateway {
    /// Creates an adapter for the stage's management endpoint,
    /// `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    pub fn new(
        config: &SdkConfig,
        endpoint: String,
        ids: Arc<dyn IdGenerator>,
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
        spelling: TypeSpelling,
        message: CloudMessage,
    ) -> Result<SendOutcome, GatewayError> {
        let envelope = Envelope {
            id: self.ids.message(),
            timestamp: self.clock.now(),
            message,
        };
        let text = envelope.encode(spelling)?;
        let call = self.client.post_to_connection();
        let call = call.connection_id(connection.as_str());
        let sent = call.data(Blob::new(text)).send().await;
        send_outcome_from_result("PostToConnection", sent)
    }

    async fn close(&self, connection: &ConnectionId) -> Result<(), GatewayError> {
        let call = self.client.delete_connection();
        let closed = call.connection_id(connection.as_str()).send().await;
        send_outcome_from_result("DeleteConnection", closed).map(drop)
    }
}

/// Returns the outcome of a call. API Gateway answers 410 if the connection does not exist (any more,
/// or yet).
fn send_outcome_from_result<T, E>(
    operation: &'static str,
    result: Result<T, SdkError<E>>,
) -> Result<SendOutcome, GatewayError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(SendOutcome::Sent),
        Err(error) if error.code() == Some("GoneException") => Ok(SendOutcome::Gone),
        Err(error) => Err(GatewayError::Call {
            operation,
            source: error.into(),
        }),
    }
}
