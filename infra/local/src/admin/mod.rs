//! What an administrator does by hand: agents with their keys, projects, and dead letters. It
//! works on the tables and queues of the local stack, or of one on AWS.

mod agents;
mod dead_letters;
mod projects;

use std::collections::BTreeMap;

use anyhow::Result;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use bematic_aws::store::{AgentStore, ProjectStore};

pub use bematic::agent::{Project as Bound, Route};
pub use bematic::breaker::BreakerConfig;
pub use bematic::dead_letter::{DeadLetters, QueueName};
pub use bematic_protocol::ids::{AgentId, ChannelId};

pub use self::agents::{AgentSummary, NewAgent, Revoked};
pub use self::projects::Wanted;
use crate::deploy;
use crate::paths::Workspace;
use crate::stack::{StackFile, Tables, queues};
use crate::ui::Ui;

/// The administration of one deployment.
#[derive(Debug, Clone)]
pub struct Admin {
    agents: AgentStore,
    projects: ProjectStore,
    config: SdkConfig,
    queues: BTreeMap<String, String>,
}

impl Admin {
    /// Of a local stack.
    pub async fn local(stack: &StackFile) -> Self {
        Self::new(config(stack).await, &stack.tables, stack.queues.clone())
    }

    /// Of the stack of this name on AWS, reached as the AWS environment says.
    pub async fn aws(workspace: &Workspace, stack: &str, ui: &Ui) -> Result<Self> {
        let outputs = deploy::outputs(workspace, stack, ui).await?;
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        Ok(Self::new(config, &Tables::of(&outputs)?, queues(&outputs)))
    }

    /// Of what is reached as `config` says.
    pub fn new(config: SdkConfig, tables: &Tables, queues: BTreeMap<String, String>) -> Self {
        let client = Client::new(&config);
        Self {
            agents: AgentStore::new(client.clone(), tables.agents.clone()),
            projects: ProjectStore::new(client, tables.agents.clone()),
            config,
            queues,
        }
    }
}

/// A client of a local stack's tables.
pub(crate) async fn client(stack: &StackFile) -> Client {
    Client::new(&config(stack).await)
}

/// How a local stack is reached.
async fn config(stack: &StackFile) -> SdkConfig {
    // The emulator takes any credentials, but the SDK insists on some.
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(&stack.aws_endpoint)
        .region(Region::new(stack.region.clone()))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .load()
        .await
}
