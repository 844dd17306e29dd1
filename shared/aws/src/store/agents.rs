//! Agents: their records, their keys and the lease to dispatch their queues; and projects.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;
use bematic::{
    agent::{Agent, DispatchLease, KeyHash, Project},
    error::StoreError,
    ports::{Agents, Created, DispatchLeases, LeaseAcquisition, Projects, Released},
};
use bematic_protocol::{
    ids::{AgentId, ChannelId},
    time::Timestamp,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    AgentStore, ProjectStore, keys,
    table::{first, parse_key, read},
    write::ConditionFailed,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredKey {
    created_at: Timestamp,
}

#[async_trait]
impl Agents for AgentStore {
    async fn find(&self, id: &AgentId) -> Result<Option<Agent>, StoreError> {
        self.agents.find(&keys::agent(id)).await
    }

    async fn list(&self) -> Result<Vec<Agent>, StoreError> {
        self.agents.list(keys::AGENTS).await
    }

    async fn create(&self, agent: &Agent) -> Result<Created<()>, StoreError> {
        let put = self.agents.put(&keys::agent(&agent.id), agent)?;
        let put = put.listed(keys::AGENTS, agent.id.as_str())?.if_absent();
        Ok(match put.send().await? {
            Ok(_) => Created::New,
            Err(_) => Created::Existing(()),
        })
    }

    async fn add_key(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let stored = StoredKey { created_at: now };
        let put = self.agents.put(&keys::api_key(agent, key), &stored)?;
        put.send().await.map(drop)
    }

    async fn has_key(&self, agent: &AgentId, key: &KeyHash) -> Result<bool, StoreError> {
        let found: Option<StoredKey> = self.agents.find(&keys::api_key(agent, key)).await?;
        Ok(found.is_some())
    }

    async fn revoke_keys(&self, agent: &AgentId) -> Result<usize, StoreError> {
        let found = first(self.agents.with_prefix(&keys::api_keys(agent)), usize::MAX).await?;
        let deletions = found
            .iter()
            .map(async |item| self.agents.delete(parse_key(item)?).send().await);
        Ok(try_join_all(deletions).await?.len())
    }
}

#[async_trait]
impl DispatchLeases for AgentStore {
    async fn acquire(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        now: Timestamp,
    ) -> Result<LeaseAcquisition, StoreError> {
        // If the holder ends its lease between the two calls, the first call can take it.
        for _ in 0..5 {
            match self.take_lease(agent, lease, now).await? {
                LeaseAcquisition::Requested if !self.request_another_pass(agent, now).await? => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(LeaseAcquisition::Requested)
    }

    async fn release(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        requests: u64,
    ) -> Result<Released, StoreError> {
        let update = self
            .agents
            .update(keys::agent(agent))
            .remove("drain")
            .when("#drain.#holder = :me AND #drainRequests = :requests")
            .value(":me", &lease.holder)?
            .value(":requests", requests)?;
        let present: Agent = match update.send().await? {
            Err(ConditionFailed(item)) if !item.is_empty() => read(item)?,
            _ => return Ok(Released::Done),
        };
        let held = present.dispatch_lease.as_ref();
        Ok(if held.is_some_and(|held| held.holder == lease.holder) {
            Released::RequestedAgain(Box::new(present))
        } else {
            Released::Done
        })
    }
}

impl AgentStore {
    async fn take_lease(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        now: Timestamp,
    ) -> Result<LeaseAcquisition, StoreError> {
        let update = self
            .agents
            .update(keys::agent(agent))
            .set("drain", lease)?
            .if_exists()
            .when("attribute_not_exists(#drain) OR #drain.#until < :now OR #drain.#holder = :me")
            .value(":me", &lease.holder)?
            .value(":now", now)?
            .returning(ReturnValue::AllNew);
        Ok(match update.send().await? {
            Ok(item) => LeaseAcquisition::Acquired(Box::new(read(item)?)),
            Err(ConditionFailed(item)) if item.is_empty() => LeaseAcquisition::NoAgent,
            Err(ConditionFailed(_)) => LeaseAcquisition::Requested,
        })
    }

    /// Requests that the holder of the lease read the queue once more before it ends the lease.
    /// Returns false if nobody holds the lease.
    async fn request_another_pass(
        &self,
        agent: &AgentId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = self.agents.update(keys::agent(agent));
        let update = update.add("drainRequests", 1)?;
        let update = update.when("#drain.#until >= :now").value(":now", now)?;
        Ok(update.send().await?.is_ok())
    }
}

#[async_trait]
impl Projects for ProjectStore {
    async fn find(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError> {
        self.agents.find(&keys::project(channel)).await
    }

    async fn list(&self) -> Result<Vec<Project>, StoreError> {
        self.agents.list(keys::PROJECTS).await
    }

    async fn put(&self, project: &Project) -> Result<(), StoreError> {
        let channel = &project.channel_id;
        let put = self.agents.put(&keys::project(channel), project)?;
        let put = put.listed(keys::PROJECTS, channel.as_str())?;
        put.send().await.map(drop)
    }
}

impl ProjectStore {
    /// Deletes the channel's project, and returns it if there was one.
    pub async fn delete(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError> {
        let delete = self.agents.delete(keys::project(channel));
        match delete.returning(ReturnValue::AllOld).send().await? {
            Ok(item) if !item.is_empty() => read(item).map(Some),
            _ => Ok(None),
        }
    }
}
