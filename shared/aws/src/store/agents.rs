//! Agents: their records, and the lease to dispatch their queues; and projects.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;
use bematic::{
    agent::{Agent, DispatchLease, Project},
    error::StoreError,
    ports::{Agents, Created, DispatchLeases, LeaseAcquisition, LeaseRelease, Projects},
};
use bematic_protocol::{
    ids::{AgentId, ChannelId},
    time::Timestamp,
};

use super::{AgentStore, ProjectStore, keys, table::parse_record, write::ConditionFailed};

#[async_trait]
impl Agents for AgentStore {
    async fn find(&self, id: &AgentId) -> Result<Option<Agent>, StoreError> {
        self.agents.find(&keys::agent(id)).await
    }

    async fn list(&self) -> Result<Vec<Agent>, StoreError> {
        self.agents.find_listed(keys::AGENTS_LIST).await
    }

    async fn create(&self, agent: &Agent) -> Result<Created<()>, StoreError> {
        let put = self.agents.prepare_put(&keys::agent(&agent.id), agent)?;
        let put = put
            .add_to_list_index(keys::AGENTS_LIST, agent.id.as_str())?
            .if_absent();
        Ok(match put.send().await? {
            Ok(_) => Created::New,
            Err(_) => Created::Existing(()),
        })
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
            match self.take_dispatch_lease(agent, lease, now).await? {
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
    ) -> Result<LeaseRelease, StoreError> {
        let update = self
            .agents
            .prepare_update(keys::agent(agent))
            .remove("drain")
            .when("#drain.#holder = :me AND #drainRequests = :requests")
            .set_placeholder_value(":me", &lease.holder)?
            .set_placeholder_value(":requests", requests)?;
        let present: Agent = match update.send().await? {
            Err(ConditionFailed(item)) if !item.is_empty() => parse_record(item)?,
            _ => return Ok(LeaseRelease::Done),
        };
        let held = present.dispatch_lease.as_ref();
        Ok(if held.is_some_and(|held| held.holder == lease.holder) {
            LeaseRelease::RequestedAgain(Box::new(present))
        } else {
            LeaseRelease::Done
        })
    }
}

impl AgentStore {
    async fn take_dispatch_lease(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        now: Timestamp,
    ) -> Result<LeaseAcquisition, StoreError> {
        let update = self
            .agents
            .prepare_update(keys::agent(agent))
            .set("drain", lease)?
            .if_exists()
            .when("attribute_not_exists(#drain) OR #drain.#until < :now OR #drain.#holder = :me")
            .set_placeholder_value(":me", &lease.holder)?
            .set_placeholder_value(":now", now)?
            .returning(ReturnValue::AllNew);
        Ok(match update.send().await? {
            Ok(item) => LeaseAcquisition::Acquired(Box::new(parse_record(item)?)),
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
        let update = self.agents.prepare_update(keys::agent(agent));
        let update = update.add_to_attribute("drainRequests", 1)?;
        let update = update
            .when("#drain.#until >= :now")
            .set_placeholder_value(":now", now)?;
        Ok(update.send().await?.is_ok())
    }
}

#[async_trait]
impl Projects for ProjectStore {
    async fn find(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError> {
        self.agents.find(&keys::project(channel)).await
    }

    async fn list(&self) -> Result<Vec<Project>, StoreError> {
        self.agents.find_listed(keys::PROJECTS_LIST).await
    }

    async fn put(&self, project: &Project) -> Result<(), StoreError> {
        let channel = &project.channel_id;
        let put = self.agents.prepare_put(&keys::project(channel), project)?;
        let put = put.add_to_list_index(keys::PROJECTS_LIST, channel.as_str())?;
        put.send().await.map(drop)
    }
}

impl ProjectStore {
    /// Deletes the channel's project, and returns it if there was one.
    pub async fn delete(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError> {
        let delete = self.agents.prepare_delete(keys::project(channel));
        match delete.returning(ReturnValue::AllOld).send().await? {
            Ok(item) if !item.is_empty() => parse_record(item).map(Some),
            _ => Ok(None),
        }
    }
}
