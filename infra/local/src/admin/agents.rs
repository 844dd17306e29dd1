//! Agents and their keys.

use anyhow::{Context, Result, bail};
use bematic::agent::{Agent, ApiKey, Route};
use bematic::breaker::{Breaker, BreakerConfig, BreakerEvent};
use bematic::ports::{Agents as _, Breakers as _, Created, Turn, Written};
use bematic_protocol::ids::AgentId;
use bematic_protocol::time::{Clock as _, SystemClock};
use garde::Validate as _;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::Serialize;

use super::Admin;

/// A key that was just made: it can't be shown again.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewAgent {
    /// Whose key it is.
    pub agent_id: AgentId,
    /// The key.
    pub api_key: String,
}

/// An agent in a list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentSummary {
    /// Its id.
    pub agent_id: AgentId,
    /// Whether it is connected.
    pub connected: bool,
    /// Tasks that it takes at once.
    pub capacity: u32,
    /// Tasks that it has.
    pub active_tasks: usize,
    /// The version of its software, once it has said so.
    pub version: Option<String>,
    /// When it was made, in Unix milliseconds.
    pub created_at: u64,
}

/// What became of an agent's keys.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// Whose they were.
    pub agent_id: AgentId,
    /// How many there were.
    pub keys: usize,
}

impl Admin {
    /// Makes an agent with a key. One that exists gets another key only if `add_key` says so.
    pub async fn create_agent(&self, id: AgentId, add_key: bool) -> Result<NewAgent> {
        if Route::reserves(&id) {
            bail!(
                "an agent can't be called {id}: that is how a project says that any agent will do; \
                 give it another name"
            );
        }
        let now = SystemClock.now();
        let created = self.agents.create(&Agent::new(id.clone(), now)).await?;
        if matches!(created, Created::Existing(())) && !add_key {
            bail!("the agent {id} exists; --add-key gives it another key");
        }
        let key = new_key()?;
        self.agents.add_key(&id, &key.hash(), now).await?;
        Ok(NewAgent {
            agent_id: id,
            api_key: key.expose().to_owned(),
        })
    }

    /// All agents.
    pub async fn list_agents(&self) -> Result<Vec<AgentSummary>> {
        Ok(self
            .agents
            .list()
            .await?
            .into_iter()
            .map(AgentSummary::from)
            .collect())
    }

    /// All agents as they are stored.
    pub(crate) async fn stored_agents(&self) -> Result<Vec<Agent>> {
        Ok(self.agents.list().await?)
    }

    /// The agent's circuit breaker.
    pub async fn breaker(&self, id: &AgentId) -> Result<Breaker> {
        self.known(id).await?;
        Ok(self.agents.breaker(id).await?)
    }

    /// Gives the agent's breaker settings of its own: those that it has, or else those of the
    /// template, changed by `change`; `None` takes them away. Gives back those that it has then.
    pub async fn configure_breaker(
        &self,
        id: &AgentId,
        change: Option<impl Fn(BreakerConfig) -> BreakerConfig>,
    ) -> Result<Option<BreakerConfig>> {
        self.known(id).await?;
        loop {
            let before = self.agents.breaker(id).await?;
            let config = change
                .as_ref()
                .map(|change| change(before.config.unwrap_or_else(BreakerConfig::deployed)));
            if let Some(config) = &config {
                config.validate().context("these settings make no sense")?;
            }
            let event = BreakerEvent::Configure(config);
            let after = before.after(event, &BreakerConfig::deployed(), SystemClock.now());
            let turn = Turn {
                before: &before,
                after: &after.next,
            };
            if self.agents.turn(id, turn).await? == Written::Done {
                return Ok(config);
            }
        }
    }

    async fn known(&self, id: &AgentId) -> Result<()> {
        if self.agents.find(id).await?.is_none() {
            bail!("there is no agent {id}; `cargo xtask agent list` shows them");
        }
        Ok(())
    }

    /// Takes all keys from an agent: it can't connect any more.
    pub async fn revoke_agent(&self, id: AgentId) -> Result<Revoked> {
        self.known(&id).await?;
        let keys = self.agents.revoke_keys(&id).await?;
        Ok(Revoked { agent_id: id, keys })
    }
}

impl From<Agent> for AgentSummary {
    fn from(agent: Agent) -> Self {
        Self {
            connected: agent.connection.is_some(),
            capacity: agent.capacity,
            active_tasks: agent.held.len(),
            version: agent.agent_version,
            created_at: agent.created_at.as_millis(),
            agent_id: agent.id,
        }
    }
}

fn new_key() -> Result<ApiKey> {
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .context("the system has no random numbers")?;
    Ok(ApiKey::from_random(bytes))
}
