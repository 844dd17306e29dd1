//! `ws-authorizer`: checks the key in a handshake's headers.

use std::sync::Arc;

use bematic_protocol::ids::AgentId;
use serde_json::Value;
use tracing::{error, warn};

use super::event::{Credentials, Handshake};
use crate::{
    agent::ApiKey,
    error::{AuthError, BematicError, chain},
    ports::{Agents, Ports},
};

/// API Gateway answers 401 for an authorizer's error of exactly this text, and 500 for any other.
const UNAUTHORIZED: &str = "Unauthorized";

/// The refusal of a handshake, in the form in which the authorizer fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error's stable code.
    pub code: &'static str,
    /// The text from which API Gateway derives the status.
    pub text: &'static str,
}

/// Checks handshakes.
pub struct Authorizer {
    ports: Arc<Ports>,
}

impl Authorizer {
    /// Creates an authorizer with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self { ports }
    }

    /// Handles a handshake: returns the policy that allows it, with the agent's id if it has
    /// authenticated.
    ///
    /// # Errors
    /// [`Refusal`]: with 401 for a bad key, with 500 if the key could not be checked.
    pub async fn handle(&self, handshake: &Handshake) -> Result<Value, Refusal> {
        match self.authorize(handshake.credentials()).await {
            Ok(agent) => Ok(handshake.allow(agent.as_ref())),
            Err(error) => {
                let code = error.code();
                if error.is_transient() {
                    error!(code, error = chain(&error), "handshake not checked");
                    return Err(Refusal { code, text: code });
                }
                warn!(code, %error, "handshake refused");
                Err(Refusal {
                    code,
                    text: UNAUTHORIZED,
                })
            }
        }
    }

    /// Returns the agent that the handshake's key belongs to, or `None` if the agent has yet to
    /// authenticate in band. One call with a key, none without.
    ///
    /// # Errors
    /// [`AuthError`] if the handshake has a key that is not valid: it is refused with 401.
    pub async fn authorize(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Option<AgentId>, BematicError> {
        let Some(authorization) = credentials.authorization else {
            return Ok(None);
        };
        let bad = |reason| AuthError::BadHeaders { reason };
        let agent_id = credentials.agent_id.ok_or(bad("X-Agent-Id is missing"))?;
        let agent_id: AgentId = agent_id.parse().map_err(AuthError::BadAgentId)?;
        let key = authorization
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .ok_or(bad("Authorization is not of the scheme Bearer"))?;
        check_key(&*self.ports.agents, &agent_id, key).await?;
        Ok(Some(agent_id))
    }
}

/// Checks that the key belongs to the agent. A text that cannot be a key costs no call.
pub(super) async fn check_key(
    agents: &dyn Agents,
    agent_id: &AgentId,
    key: &str,
) -> Result<(), BematicError> {
    let good = match key.parse::<ApiKey>() {
        Ok(key) => agents.has_key(agent_id, &key.hash()).await?,
        Err(()) => false,
    };
    if good {
        Ok(())
    } else {
        Err(AuthError::BadKey {
            agent_id: agent_id.clone(),
        }
        .into())
    }
}
