//! The operations on the keys of agents: issuing, rotating, listing, revoking.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bematic::agent::{ApiKey, KeyId, KeyPrefix, StoredKey};
use bematic::dead_letter::QueueName;
use bematic::ports::{DispatchMessage, DispatchQueue as _, Gateway as _};
use bematic_aws::gateway::ApiGateway;
use bematic_aws::queue::SqsQueue;
use bematic_protocol::ids::{AgentId, ConnectionId, RandomIds};
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::Serialize;

use crate::admin::{Admin, IssuedKey};
use crate::deployment::MANAGEMENT_URL_OUTPUT;
use crate::refusal::Refusal;

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeySummary {
    /// The key's id.
    pub key_id: KeyId,
    /// The time at which the key was issued.
    pub created_at: Timestamp,
    /// The time from which the key is refused.
    pub valid_until: Option<Timestamp>,
    /// The time at which a connection was last opened with the key.
    pub last_used_at: Option<Timestamp>,
}

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedKeys {
    /// The agent's id.
    pub agent_id: AgentId,
    /// The number of keys that were revoked.
    pub keys: usize,
    /// The ids of these keys.
    pub key_ids: Vec<KeyId>,
    /// The connection that was unbound, since it was opened with one of these keys.
    pub connection: Option<ConnectionId>,
    /// The reason why the connection could not be closed yet: the dispatcher tries it again.
    pub not_closed_yet: Option<String>,
}

impl Admin {
    /// Issues a key of an agent that exists.
    pub(crate) async fn issue_key(&self, id: AgentId, now: Timestamp) -> Result<IssuedKey> {
        let mut bytes = [0; 32];
        let random = SysRng.try_fill_bytes(&mut bytes);
        random.context("the system has no random numbers")?;
        let key = ApiKey::from_random(bytes);
        let hash = key.hash();
        // Boxed, since the futures of the local stack that contain it are nested deeply enough.
        if !Box::pin(self.keys.add(&id, &hash, now)).await? {
            return Err(Refusal::AgentGone(id).into());
        }
        Ok(IssuedKey {
            agent_id: id,
            api_key: key.expose().to_owned(),
            key_id: hash.key_id(),
        })
    }

    /// Issues another key of an agent. The present ones are refused after `overlap`, or when they
    /// would have been before.
    pub async fn rotate_keys(&self, id: &AgentId, overlap: Duration) -> Result<IssuedKey> {
        self.find_agent(id).await?;
        let now = SystemClock.now();
        let present = self.keys.list(id).await?;
        let issued = self.issue_key(id.clone(), now).await?;
        for key in present {
            let ended = self.keys.end_validity(id, &key.hash, now + overlap).await;
            ended.with_context(|| {
                let (new, old) = (&issued.key_id, key.id());
                format!(
                    "key {old} stays valid, and nobody knows the new key {new}: revoke {new} with \
                     `bematic agent revoke {id} --key {new}`, and rotate again"
                )
            })?;
        }
        Ok(issued)
    }

    /// Lists the keys of an agent, oldest first.
    pub async fn list_keys(&self, id: &AgentId) -> Result<Vec<KeySummary>> {
        let agent = self.find_agent(id).await?;
        let keys = self.keys.list(id).await?.into_iter();
        let summaries = keys.map(|key| KeySummary {
            key_id: key.id(),
            created_at: key.created_at,
            valid_until: key.valid_until,
            last_used_at: agent.key_uses.get(&key.id()).copied(),
        });
        Ok(summaries.collect())
    }

    /// Revokes the key of an agent whose id begins with `prefix`, or all its keys. A connection of
    /// the agent that was opened with one of them is unbound, and closed.
    ///
    /// # Errors
    /// Also if the keys are revoked, and the connection could neither be closed nor left to the
    /// dispatcher to close: the error says so.
    pub async fn revoke_keys(
        &self,
        id: &AgentId,
        prefix: Option<&KeyPrefix>,
    ) -> Result<RevokedKeys> {
        self.find_agent(id).await?;
        let mut keys = self.keys.list(id).await?;
        if let Some(prefix) = prefix {
            keys = vec![prefix.find_in(&keys).map_err(Refusal::from)?.clone()];
        }
        let all = prefix.is_none();
        let revoked = self.keys.revoke(id, &keys, all, SystemClock.now()).await?;
        let revoked = revoked.ok_or_else(|| Refusal::AgentGone(id.clone()))?;
        let not_closed_yet = match &revoked.unbound {
            Some(connection) => self.close_connection(id, connection).await?,
            None => None,
        };
        Ok(RevokedKeys {
            agent_id: id.clone(),
            keys: keys.len(),
            key_ids: keys.iter().map(StoredKey::id).collect(),
            connection: revoked.unbound,
            not_closed_yet,
        })
    }

    /// Closes a connection whose key is revoked; the SDK makes three attempts, with a backoff. If
    /// they fail, has the dispatcher close it, and returns why.
    async fn close_connection(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
    ) -> Result<Option<String>> {
        let Err(problem) = self.try_close(connection).await else {
            return Ok(None);
        };
        let problem = format!("{problem:#}");
        let enqueued = self.enqueue_close(agent, connection).await;
        enqueued.with_context(|| {
            format!(
                "the keys are revoked, and the agent {agent} gets no more tasks, but its connection \
                 {connection} could not be closed ({problem}), and not be left to the dispatcher"
            )
        })?;
        Ok(Some(problem))
    }

    async fn try_close(&self, connection: &ConnectionId) -> Result<()> {
        let deployment = &self.deployment;
        let missing = || format!("the stack has no output {MANAGEMENT_URL_OUTPUT}");
        let url = deployment.management_url.clone().with_context(missing)?;
        let (ids, clock) = (Arc::new(RandomIds), Arc::new(SystemClock));
        let gateway = ApiGateway::new(&deployment.config, url, ids, clock);
        Ok(gateway.close(connection).await?)
    }

    async fn enqueue_close(&self, agent: &AgentId, connection: &ConnectionId) -> Result<()> {
        let name: &str = QueueName::Dispatch.into();
        let url = self.deployment.queues.get(name).cloned();
        let url = url.with_context(|| format!("the deployed stack has no queue {name}"))?;
        let client = aws_sdk_sqs::Client::new(&self.deployment.config);
        let close = DispatchMessage::CloseConnection {
            connection_id: connection.clone(),
            agent_id: agent.clone(),
        };
        let queue = SqsQueue::new(client, url);
        Ok(queue.send(&[(close, Duration::ZERO)]).await?)
    }
}
