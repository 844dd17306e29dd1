//! `ws-authorizer`: checks the key in a handshake's headers.

use std::sync::Arc;

use bematic_protocol::ids::AgentId;

use crate::{
    agent::ApiKey,
    error::{AuthError, BematicError},
    ports::Agents,
};

/// The headers of a handshake that speak of who it is.
#[derive(Debug, Default, Clone, Copy)]
pub struct Credentials<'a> {
    /// `Authorization`
    pub authorization: Option<&'a str>,
    /// `X-Agent-Id`
    pub agent_id: Option<&'a str>,
}

/// Checks handshakes.
pub struct Authorizer {
    agents: Arc<dyn Agents>,
}

impl Authorizer {
    /// On the agents' keys.
    pub fn new(agents: Arc<dyn Agents>) -> Self {
        Self { agents }
    }

    /// The agent that the handshake's key belongs to, or `None` if it has yet to authenticate in
    /// band. One call with a key, none without.
    ///
    /// # Errors
    /// [`AuthError`] if it has a key that is not good: the handshake is refused with 401.
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
        check_key(&*self.agents, &agent_id, key).await?;
        Ok(Some(agent_id))
    }
}

/// Whether the key is the agent's. A text that cannot be a key costs no call.
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
