//! The adapters, made from the environment that `template.yaml` gives each function. Clients are
//! built once, at start, and share one HTTP connection pool.

use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};

use crate::{
    config::required,
    error::ConfigError,
    gateway::ApiGateway,
    ids::RandomIds,
    ports::{
        Agents, BatchQueue, Batches, Cards, DispatchQueue, Gateway, Notifications, Projects, Tasks,
        Visibility,
    },
    queue::{SqsBatches, SqsDispatch, SqsNotifications, SqsSource},
    store::{AgentStore, ProjectStore, TaskStore},
    time::SystemClock,
};

/// Makes adapters.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

impl Aws {
    /// With the function's own credentials, region and endpoint.
    pub async fn load() -> Self {
        Self {
            config: aws_config::load_defaults(BehaviorVersion::latest()).await,
        }
    }

    fn dynamo(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    /// From `TASKS_TABLE` and `AGENTS_TABLE`.
    pub fn tasks(&self) -> Result<Arc<dyn Tasks>, ConfigError> {
        Ok(Arc::new(self.task_store()?))
    }

    /// From `TASKS_TABLE` and `AGENTS_TABLE`.
    pub fn batches(&self) -> Result<Arc<dyn Batches>, ConfigError> {
        Ok(Arc::new(self.task_store()?))
    }

    /// From `TASKS_TABLE` and `AGENTS_TABLE`.
    pub fn cards(&self) -> Result<Arc<dyn Cards>, ConfigError> {
        Ok(Arc::new(self.task_store()?))
    }

    fn task_store(&self) -> Result<TaskStore, ConfigError> {
        let (tasks, agents) = (required("TASKS_TABLE")?, required("AGENTS_TABLE")?);
        Ok(TaskStore::new(self.dynamo(), tasks, agents))
    }

    /// From `AGENTS_TABLE`.
    pub fn agents(&self) -> Result<Arc<dyn Agents>, ConfigError> {
        Ok(Arc::new(AgentStore::new(
            self.dynamo(),
            required("AGENTS_TABLE")?,
        )))
    }

    /// From `AGENTS_TABLE`.
    pub fn projects(&self) -> Result<Arc<dyn Projects>, ConfigError> {
        Ok(Arc::new(ProjectStore::new(
            self.dynamo(),
            required("AGENTS_TABLE")?,
        )))
    }

    /// From `DISPATCH_QUEUE_URL`.
    pub fn dispatch(&self) -> Result<Arc<dyn DispatchQueue>, ConfigError> {
        Ok(Arc::new(SqsDispatch::new(
            self.sqs(),
            required("DISPATCH_QUEUE_URL")?,
        )))
    }

    /// From `NOTIFICATIONS_QUEUE_URL`.
    pub fn notifications(&self) -> Result<Arc<dyn Notifications>, ConfigError> {
        Ok(Arc::new(SqsNotifications::new(
            self.sqs(),
            required("NOTIFICATIONS_QUEUE_URL")?,
        )))
    }

    /// From `BATCH_QUEUE_URL`.
    pub fn batch_queue(&self) -> Result<Arc<dyn BatchQueue>, ConfigError> {
        let url = required("BATCH_QUEUE_URL")?;
        Ok(Arc::new(SqsBatches::new(self.sqs(), url)))
    }

    /// The queue that the function is fed from, from the variable that names it.
    pub fn source(&self, name: &'static str) -> Result<Arc<dyn Visibility>, ConfigError> {
        Ok(Arc::new(SqsSource::new(self.sqs(), required(name)?)))
    }

    /// From `WEBSOCKET_MANAGEMENT_URL`.
    pub fn gateway(&self) -> Result<Arc<dyn Gateway>, ConfigError> {
        let endpoint = required("WEBSOCKET_MANAGEMENT_URL")?;
        let (ids, clock) = (Arc::new(RandomIds), Arc::new(SystemClock));
        Ok(Arc::new(ApiGateway::new(
            &self.config,
            endpoint,
            ids,
            clock,
        )))
    }
}
