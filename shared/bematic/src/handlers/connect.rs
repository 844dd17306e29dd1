//! `ws-authorizer`, `ws-connect` and `ws-disconnect`: the beginning and the end of a connection.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::{AuthResponse, CloudMessage},
};
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::event::{AuthenticatedAgent, Handshake, SocketEvent};
use crate::{
    agent::{ApiKey, Binding, KeyId, TakeOver},
    error::{AuthError, BematicError, Result, chain},
    ports::{AUTH_DEADLINE, BindOutcome, DispatchMessage, Ports, UnbindOutcome},
};

/// API Gateway answers 401 for an authorizer's error of exactly this text, and 500 for any other.
const UNAUTHORIZED_TEXT: &str = "Unauthorized";

/// The refusal of a handshake, in the form in which the authorizer fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error's stable code.
    pub code: &'static str,
    /// The text from which API Gateway derives the status: 401 for a bad key, 500 if the key could
    /// not be checked.
    pub text: &'static str,
}

/// Authorizes a handshake: returns the policy that allows it, with the agent's id and its key's if
/// it has authenticated.
pub async fn authorize(ports: &Ports, handshake: &Handshake) -> Result<Value, Refusal> {
    match authenticate(ports, handshake).await {
        Ok(authenticated) => Ok(handshake.allow_policy(authenticated)),
        Err(error) if error.is_transient() => {
            let code = error.code();
            error!(code, error = %chain(&error), "handshake not checked");
            Err(Refusal { code, text: code })
        }
        Err(error) => {
            let code = error.code();
            warn!(code, %error, "handshake refused");
            let text = UNAUTHORIZED_TEXT;
            Err(Refusal { code, text })
        }
    }
}

/// Returns the agent that the handshake's key belongs to, or `None` if the agent has yet to
/// authenticate in band. One call with a key, none without.
pub async fn authenticate(
    ports: &Ports,
    handshake: &Handshake,
) -> Result<Option<AuthenticatedAgent>> {
    let Some(authorization) = handshake.header("authorization") else {
        return check_in_band_allowed(ports).map(|()| None);
    };
    let agent_id = handshake.header("x-agent-id");
    let agent_id = agent_id.ok_or(AuthError::BadHeaders("X-Agent-Id is missing"))?;
    let agent_id: AgentId = agent_id.parse().map_err(AuthError::BadAgentId)?;
    let not_bearer = AuthError::BadHeaders("Authorization is not of the scheme Bearer");
    let (scheme, key) = authorization.split_once(' ').ok_or(not_bearer.clone())?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(not_bearer.into());
    }
    let key_id = check_key(ports, &agent_id, key.trim()).await?;
    Ok(Some(AuthenticatedAgent { agent_id, key_id }))
}

/// Checks that the deployment allows authentication in band.
pub(super) fn check_in_band_allowed(ports: &Ports) -> Result<()> {
    if ports.settings.allows_in_band_authentication {
        return Ok(());
    }
    Err(AuthError::InBandAuthenticationOff.into())
}

/// Checks that the key is the agent's, and valid now, and returns its id. A text that cannot be a
/// key costs no call.
pub(super) async fn check_key(ports: &Ports, agent_id: &AgentId, key: &str) -> Result<KeyId> {
    let invalid = || AuthError::BadApiKey(agent_id.clone());
    let hash = key.parse::<ApiKey>().map_err(|()| invalid())?.hash();
    let (keys, now) = (&ports.api_keys, ports.clock.now());
    if keys.has_valid_key(agent_id, &hash, now).await? {
        return Ok(hash.key_id());
    }
    Err(invalid().into())
}

/// Returns AUTH_RESPONSE with the agent that the connection is bound to, or with the refusal.
pub(super) fn auth_response_message(result: Result<&AgentId, &BematicError>) -> CloudMessage {
    CloudMessage::AuthResponse(AuthResponse {
        success: result.is_ok(),
        agent_id: result.ok().cloned(),
        error: result.err().map(ToString::to_string),
    })
}

/// Handles `$connect`: returns the answer for API Gateway. Anything but 200 refuses the handshake;
/// the agent connects again.
///
/// No message is sent to the connection here: it does not exist before this function has answered.
pub async fn connect(ports: &Ports, event: &SocketEvent) -> Value {
    let status = match bind(ports, event).await {
        Ok(()) => 200,
        Err(error) => {
            error!(code = error.code(), error = %chain(&error), "connection refused");
            if error.is_transient() { 503 } else { 401 }
        }
    };
    json!({ "statusCode": status })
}

/// Binds the connection to the agent that the handshake names: one call, and one more if an older
/// connection has to be closed. A connection whose handshake names no agent is stored as unbound,
/// and its deadline is enqueued: two calls.
pub async fn bind(ports: &Ports, event: &SocketEvent) -> Result<()> {
    let (connection, now) = (&event.connection_id, ports.clock.now());
    if let Some(agent) = &event.agent_id {
        let bound_at = event.connected_at.unwrap_or(now);
        let binding = Binding {
            key_id: event.key_id.clone(),
            address: event.address,
            ..Binding::new(connection.clone(), bound_at, None)
        };
        let bound = ports.connections.bind(agent, &binding).await?;
        return handle_bind_outcome(ports, agent, &binding, bound).await;
    }
    check_in_band_allowed(ports)?;
    ports.connections.add_unbound(connection, now).await?;
    let connection_id = connection.clone();
    let deadline = DispatchMessage::AuthDeadline { connection_id };
    ports.dispatch.send(&[(deadline, AUTH_DEADLINE)]).await?;
    info!(%connection, "connection has yet to authenticate");
    Ok(())
}

/// Handles the outcome of binding a connection: closes the older one that it replaced, with one
/// call, or else has the dispatcher close it. It is sent no more tasks in any case. A take-over
/// costs one message more, for the notice.
pub(super) async fn handle_bind_outcome(
    ports: &Ports,
    agent: &AgentId,
    binding: &Binding,
    bound: BindOutcome,
) -> Result<()> {
    let connection = &binding.id;
    let replaced = match bound {
        BindOutcome::Current { replaced } => replaced,
        BindOutcome::Replaced => return Err(AuthError::ConnectionReplaced(agent.clone()).into()),
        BindOutcome::NoAgent | BindOutcome::Revoked => {
            return Err(AuthError::BadApiKey(agent.clone()).into());
        }
        BindOutcome::Taken => return Err(AuthError::AlreadyAuthenticated.into()),
    };
    let Some(replaced) = replaced else {
        info!(%connection, %agent, "agent connected");
        return Ok(());
    };
    let older = replaced.binding.id.clone();
    info!(%connection, %agent, replaced = %older, "agent connected");
    if let Some(take_over) = TakeOver::detect(agent, &replaced, binding) {
        announce_take_over(ports, &take_over).await;
    }
    if let Err(error) = ports.gateway.close(&older).await {
        let error = BematicError::from(error);
        warn!(connection = %older, code = error.code(), %error, "older connection not closed yet");
        close_later(ports, agent, older).await;
    }
    Ok(())
}

/// Has the operations channel told that another address has taken over an agent's connection. The
/// connection is bound, and API Gateway repeats no handshake: a failure is only logged.
async fn announce_take_over(ports: &Ports, take_over: &TakeOver) {
    let TakeOver {
        agent_id,
        connection_id,
        from,
        to,
        ..
    } = take_over;
    warn!(agent = %agent_id, connection = %connection_id, %from, %to, "connection taken over by another address");
    if ports.settings.operations_channel.is_none() {
        return;
    }
    let enqueued = ports
        .notifications
        .enqueue_take_over_notice(take_over)
        .await;
    if let Err(error) = enqueued {
        let error = BematicError::from(error);
        warn!(agent = %agent_id, code = error.code(), %error, "notice of a take-over not enqueued");
    }
}

/// Has the dispatcher close a connection, whose queue tries it again until it works. If that cannot
/// be enqueued either, the connection is closed at its next heartbeat that would be stored.
async fn close_later(ports: &Ports, agent: &AgentId, connection: ConnectionId) {
    let close = DispatchMessage::CloseConnection {
        connection_id: connection.clone(),
        agent_id: agent.clone(),
    };
    if let Err(error) = ports.dispatch.send(&[(close, Duration::ZERO)]).await {
        let error = BematicError::from(error);
        warn!(%connection, %agent, code = error.code(), %error, "closing a connection not enqueued");
    }
}

/// Handles `$disconnect`, which may arrive late, twice, or never: one call, two for a connection
/// that authenticates in band. An error is only logged, since API Gateway does not repeat the
/// event; the next message that is sent to the connection finds it gone.
pub async fn disconnect(ports: &Ports, event: &SocketEvent) -> Result<UnbindOutcome> {
    let unbound = unbind(ports, event).await.inspect_err(|error| {
        error!(code = error.code(), error = %chain(error), "connection not unbound");
    })?;
    let connection = &event.connection_id;
    match &unbound {
        UnbindOutcome::Offline(agent) => info!(%connection, %agent, "agent is offline"),
        UnbindOutcome::Stale => {
            info!(%connection, "connection ended that was not its agent's current one");
        }
    }
    Ok(unbound)
}

/// Unbinds the connection if it is its agent's current one.
async fn unbind(ports: &Ports, event: &SocketEvent) -> Result<UnbindOutcome> {
    let (connections, id) = (&ports.connections, &event.connection_id);
    let agent = match &event.agent_id {
        Some(agent) => Some(agent.clone()),
        None => connections
            .find_in_band(id)
            .await?
            .and_then(|found| found.agent_id),
    };
    let Some(agent) = agent else {
        connections.remove_unbound(id).await?;
        return Ok(UnbindOutcome::Stale);
    };
    Ok(connections.unbind(&agent, id, ports.clock.now()).await?)
}
