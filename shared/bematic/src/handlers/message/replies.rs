//! The replies over a connection.

use bematic_protocol::{
    ids::{ConnectionId, MessageId},
    messages::{AuthResponse, CloudMessage, MessageAck, Spelling, SystemError},
};
use tracing::{error, info, warn};

use super::{
    MessageRouter,
    context::{Answer, Sender},
};
use crate::{
    error::{BematicError, chain},
    ports::Delivery,
};

impl MessageRouter {
    /// Sends a handler's answer to the message with this id.
    pub(super) async fn send_answer(
        &self,
        sender: &Sender,
        id: &MessageId,
        answer: Answer,
    ) -> Result<(), BematicError> {
        let (connection, spelling) = (&sender.connection, sender.spelling);
        let confirmation = answer.confirm.then(|| {
            CloudMessage::MessageAck(MessageAck {
                message_id: id.clone(),
            })
        });
        for message in confirmation.into_iter().chain(answer.messages) {
            self.send(connection, spelling, message).await?;
        }
        if let Some(error) = answer.error {
            self.send_error(connection, spelling, Some(id.clone()), error)
                .await?;
        }
        Ok(())
    }

    /// Logs the error once, and sends it to the agent as SYSTEM_ERROR.
    pub(super) async fn send_error(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message_id: Option<MessageId>,
        error: BematicError,
    ) -> Result<(), BematicError> {
        if error.is_transient() {
            error!(
                code = error.code(),
                error = chain(&error),
                "message not handled"
            );
        } else {
            warn!(code = error.code(), %error, "message refused");
        }
        let reply = CloudMessage::SystemError(SystemError {
            code: error.code().to_owned(),
            message: error.public_message(),
            message_id,
        });
        self.send(connection, spelling, reply).await
    }

    /// Refuses to authenticate a connection, and closes it.
    pub(super) async fn refuse(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        error: &BematicError,
    ) -> Result<(), BematicError> {
        warn!(code = error.code(), %error, "connection refused");
        let refusal = CloudMessage::AuthResponse(AuthResponse {
            success: false,
            agent_id: None,
            error: Some(error.to_string()),
        });
        self.send(connection, spelling, refusal).await?;
        self.ports.gateway.close(connection).await?;
        Ok(())
    }

    pub(super) async fn send(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message: CloudMessage,
    ) -> Result<(), BematicError> {
        let sent = self.ports.gateway.send(connection, spelling, message);
        if sent.await? == Delivery::Gone {
            info!("connection is gone: reply not sent");
        }
        Ok(())
    }
}
