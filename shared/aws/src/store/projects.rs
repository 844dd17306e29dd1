//! The repository of projects.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use bematic::{agent::Project, error::StoreError, ports::Projects};
use bematic_protocol::ids::ChannelId;

use super::{
    agents::{list, listed},
    item::{Record, read},
    keys::{self, Key},
    table::Table,
};

/// Projects in DynamoDB.
#[derive(Debug, Clone)]
pub struct ProjectStore {
    agents: Table,
}

impl ProjectStore {
    /// Creates the repository on the agents table.
    pub const fn new(client: Client, agents: String) -> Self {
        Self {
            agents: Table::new(client, agents),
        }
    }

    /// Deletes the channel's project, and returns it if there was one.
    pub async fn delete(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError> {
        let key = keys::project(channel);
        let deleted = self.agents.remove(&key).await?;
        deleted.map(|item| read(item, &key)).transpose()
    }
}

impl Record for Project {
    type Id = ChannelId;
    fn key(id: &ChannelId) -> Key {
        keys::project(id)
    }
}

#[async_trait]
impl Projects for ProjectStore {
    async fn find(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError> {
        self.agents.find(channel).await
    }

    async fn list(&self) -> Result<Vec<Project>, StoreError> {
        let mut projects: Vec<Project> = list(&self.agents, "PROJECTS").await?;
        projects.sort_by(|a, b| a.channel_id.cmp(&b.channel_id));
        Ok(projects)
    }

    async fn put(&self, project: &Project) -> Result<(), StoreError> {
        let index = listed("PROJECTS", project.channel_id.as_str());
        self.agents.put(&project.channel_id, project, index).await
    }
}
