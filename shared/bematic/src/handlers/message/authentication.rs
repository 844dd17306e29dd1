//! Which agent sends a message, and how AUTH_REQUEST binds an unbound connection to an agent.

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::{AgentMessage, AuthRequest, CloudMessage, TypeSpelling},
    time::Timestamp,
};
use tracing::{info, warn};

use super::{
    super::{
        connect::{auth_response_message, check_in_band_allowed, check_key, handle_bind_outcome},
        event::SocketEvent,
    },
    Context, MessageRouter, SenderIdentity,
};
use crate::{
    agent::{ApiKey, Binding, InBandConnection, KeyHash},
    error::{AuthError, BematicError, Result},
};

impl MessageRouter {
    /// Returns the sender of a message; or `None` if the message was AUTH_REQUEST and has just bound
    /// the connection. Any other message over an unbound connection is an error.
    pub(super) async fn identify_or_authenticate(
        &self,
        event: &SocketEvent,
        spelling: TypeSpelling,
        message: &AgentMessage,
        now: Timestamp,
    ) -> Result<Option<SenderIdentity>> {
        match (message, self.known_sender(event, spelling)) {
            (_, Some(sender)) => Ok(Some(sender)),
            (AgentMessage::AuthRequest(request), None) => {
                self.authenticate(event, spelling, request, now).await
            }
            (_, None) => match self.find_sender(event, spelling).await? {
                None => Err(AuthError::NotAuthenticated.into()),
                sender => Ok(sender),
            },
        }
    }

    /// Returns the sender, cached or looked up in one call. `None` if its connection is unbound.
    pub(super) async fn find_sender(
        &self,
        event: &SocketEvent,
        spelling: TypeSpelling,
    ) -> Result<Option<SenderIdentity>> {
        if let Some(sender) = self.known_sender(event, spelling) {
            return Ok(Some(sender));
        }
        let record = self
            .ports
            .connections
            .find_in_band(&event.connection_id)
            .await?;
        Ok(record.and_then(|record| self.cache_sender(record, spelling)))
    }

    /// Returns the sender, from the cache or as API Gateway names it.
    fn known_sender(&self, event: &SocketEvent, spelling: TypeSpelling) -> Option<SenderIdentity> {
        let connection = &event.connection_id;
        self.senders.get(connection).or_else(|| {
            Some(SenderIdentity {
                agent_id: event.agent_id.clone()?,
                connection: connection.clone(),
                key_id: event.key_id.clone(),
                spelling,
                is_recorded: false,
            })
        })
    }

    /// Caches the agent of a connection that was looked up. `None` if the connection is unbound.
    fn cache_sender(
        &self,
        record: InBandConnection,
        spelling: TypeSpelling,
    ) -> Option<SenderIdentity> {
        let sender = SenderIdentity {
            agent_id: record.agent_id?,
            connection: record.id,
            key_id: record.key_id,
            spelling: record.spelling.unwrap_or(spelling),
            is_recorded: false,
        };
        self.senders
            .insert(sender.connection.clone(), sender.clone());
        Some(sender)
    }

    /// Binds a connection to the agent of AUTH_REQUEST, by an optimistic write: a transaction,
    /// which succeeds if the key belongs to the agent, the agent has no connection, and the
    /// connection is unbound. Otherwise the records are looked up: a read, another transaction, and
    /// a call that closes the agent's older connection. Returns the sender if the connection was
    /// bound before. No call if the deployment does not allow authentication in band.
    async fn authenticate(
        &self,
        event: &SocketEvent,
        spelling: TypeSpelling,
        request: &AuthRequest,
        now: Timestamp,
    ) -> Result<Option<SenderIdentity>> {
        let connection = &event.connection_id;
        check_in_band_allowed(&self.ports)?;
        let (connections, agent_id) = (&self.ports.connections, &request.agent_id);
        let keys = &self.ports.api_keys;
        let key = request.api_key.parse::<ApiKey>().map(|key| key.hash());
        let binding = Binding {
            key_id: key.as_ref().ok().map(KeyHash::key_id),
            address: event.address,
            ..Binding::new(connection.clone(), now, Some(spelling))
        };
        let (record, agent) = match &key {
            Ok(key) if keys.bind_unread(agent_id, key, &binding).await? => {
                info!(%connection, agent = %agent_id, "agent connected");
                return self
                    .send_auth_confirmation(&binding, spelling, agent_id)
                    .await;
            }
            Ok(key) => keys.find_with_agent(connection, agent_id, key, now).await?,
            Err(()) => (connections.find_in_band(connection).await?, None),
        };
        if let Some(sender) = record.and_then(|record| self.cache_sender(record, spelling)) {
            return Ok(Some(sender));
        }
        let agent = agent.ok_or_else(|| AuthError::BadApiKey(agent_id.clone()))?;
        let bound = connections.bind_in_band(&agent, &binding).await?;
        handle_bind_outcome(&self.ports, agent_id, &binding, bound).await?;
        self.send_auth_confirmation(&binding, spelling, agent_id)
            .await
    }

    /// Confirms to an agent that the connection is bound to it, and has its queue dispatched: a post
    /// and a message.
    async fn send_auth_confirmation(
        &self,
        binding: &Binding,
        spelling: TypeSpelling,
        agent_id: &AgentId,
    ) -> Result<Option<SenderIdentity>> {
        let connection = &binding.id;
        // The answer is sent before the queue is dispatched: the agent expects it first.
        self.send(connection, spelling, auth_response_message(Ok(agent_id)))
            .await?;
        self.ports.request_dispatch(agent_id).await?;
        let sender = SenderIdentity {
            agent_id: agent_id.clone(),
            connection: connection.clone(),
            key_id: binding.key_id.clone(),
            spelling,
            is_recorded: true,
        };
        self.senders.insert(connection.clone(), sender);
        Ok(None)
    }

    /// Handles AUTH_REQUEST on a bound connection, which is bound for its lifetime: the same agent
    /// is confirmed, another is refused.
    pub(super) async fn handle_repeated_auth_request(
        &self,
        context: Context<'_>,
        request: &AuthRequest,
    ) -> Result<Vec<CloudMessage>> {
        let bound = &context.sender.agent_id;
        if request.agent_id != *bound {
            return Err(AuthError::AlreadyAuthenticated.into());
        }
        check_key(&self.ports, bound, &request.api_key).await?;
        Ok(vec![auth_response_message(Ok(bound))])
    }

    /// Records the first message that this environment receives over a connection. If it may be the
    /// first of all, the connection is known to be open from now on, and tasks may be waiting for
    /// it. It is cached only after that, so that the next message makes up for a failure here.
    pub(super) async fn record_first_message(
        &self,
        sender: &SenderIdentity,
        is_stored: bool,
        is_early: bool,
    ) -> Result<()> {
        let SenderIdentity {
            agent_id,
            connection,
            spelling,
            ..
        } = sender;
        if is_early {
            if !is_stored {
                let presence = &self.ports.presence;
                presence
                    .record_first_message(agent_id, connection, *spelling)
                    .await?;
            }
            self.ports.request_dispatch(agent_id).await?;
        }
        let sender = SenderIdentity {
            is_recorded: true,
            ..sender.clone()
        };
        self.senders.insert(sender.connection.clone(), sender);
        Ok(())
    }

    /// Refuses to authenticate a connection, and closes it.
    pub(super) async fn refuse_and_close(
        &self,
        connection: &ConnectionId,
        spelling: TypeSpelling,
        error: &BematicError,
    ) -> Result<()> {
        warn!(code = error.code(), %error, "connection refused");
        self.send(connection, spelling, auth_response_message(Err(error)))
            .await?;
        Ok(self.ports.gateway.close(connection).await?)
    }
}
