//! The adapters, made from the environment that `template.yaml` gives each function. Clients are
//! built once, at start, and share one HTTP connection pool.

use std::sync::Arc;

use aws_config::{
    BehaviorVersion, SdkConfig, stalled_stream_protection::StalledStreamProtectionConfig,
};
use bematic::{
    dead_letter::QueueName,
    error::ConfigError,
    handlers::{message::MessageRouter, transitions::Transitions},
    ports::{
        Agents, BatchQueue, Batches, Breakers, Cards, DeadLetterQueues, DispatchQueue, Gateway,
        Notifications, Projects, SourceQueue, Tasks,
    },
};
use bematic_protocol::{ids::RandomIds, time::SystemClock};
use strum::IntoEnumIterator as _;

use crate::{
    config::{breaker_config, number_or, required, task_policy},
    gateway::ApiGateway,
    queue::{SqsBatches, SqsDeadLetters, SqsDispatch, SqsNotifications, SqsSource},
    store::{AgentStore, ProjectStore, TaskStore},
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
            // Answers are a few KB: none is a stream that could stall.
            config: aws_config::defaults(BehaviorVersion::latest())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                .load()
                .await,
        }
    }

    /// The router of agents' messages: two functions run it.
    pub fn message_router(&self) -> Result<MessageRouter, ConfigError> {
        let (tasks, dispatch) = (self.tasks()?, self.dispatch()?);
        let notifications = self.notifications()?;
        let transitions = Transitions::new(
            tasks.clone(),
            self.breakers()?,
            dispatch.clone(),
            notifications.clone(),
            task_policy()?,
            breaker_config()?,
        );
        Ok(MessageRouter::new(
            tasks,
            self.agents()?,
            self.gateway()?,
            dispatch,
            notifications,
            transitions,
            Arc::new(SystemClock),
        ))
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
        Ok(Arc::new(self.agent_store()?))
    }

    /// From `AGENTS_TABLE`.
    pub fn breakers(&self) -> Result<Arc<dyn Breakers>, ConfigError> {
        Ok(Arc::new(self.agent_store()?))
    }

    fn agent_store(&self) -> Result<AgentStore, ConfigError> {
        let table = required("AGENTS_TABLE")?;
        Ok(AgentStore::new(self.dynamo(), table))
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

    /// The queue that the function is fed from: its name's `…_QUEUE_URL` and `…_DEAD_LETTERS_URL`,
    /// and `MAX_RECEIVES`.
    pub fn source(&self, name: QueueName) -> Result<Arc<dyn SourceQueue>, ConfigError> {
        let (url, dead) = urls(name);
        let max = number_or("MAX_RECEIVES", 10)?;
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        let source = SqsSource::new(self.sqs(), required(url)?, required(dead)?, max);
        Ok(Arc::new(source))
    }

    /// From every queue's `…_QUEUE_URL` and `…_DEAD_LETTERS_URL`.
    pub fn dead_letters(&self) -> Result<Arc<dyn DeadLetterQueues>, ConfigError> {
        let queues = QueueName::iter().map(|name| {
            let (url, dead) = urls(name);
            Ok((name, required(url)?, required(dead)?))
        });
        let queues: Vec<_> = queues.collect::<Result<_, ConfigError>>()?;
        Ok(Arc::new(SqsDeadLetters::new(&self.sqs(), queues)))
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

/// The variables that name a queue and its dead-letter queue.
const fn urls(name: QueueName) -> (&'static str, &'static str) {
    match name {
        QueueName::Dispatch => ("DISPATCH_QUEUE_URL", "DISPATCH_DEAD_LETTERS_URL"),
        QueueName::Notifications => ("NOTIFICATIONS_QUEUE_URL", "NOTIFICATIONS_DEAD_LETTERS_URL"),
        QueueName::Batch => ("BATCH_QUEUE_URL", "BATCH_DEAD_LETTERS_URL"),
    }
}
