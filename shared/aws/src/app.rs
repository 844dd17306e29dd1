//! The composition root: the one place that connects clients, adapters and ports. The functions
//! build an [`App`] from their environment variables; tests, the bench and the simulation build one
//! on clients of their own.

use std::{sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, ConfigLoader, SdkConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use bematic::{dead_letter::QueueName, error::ConfigError, ports::Ports, secret::CachedSecret};
use bematic_protocol::{
    ids::{IdGenerator, RandomIds},
    time::{Clock, SystemClock},
};
use strum::IntoEnumIterator as _;

use crate::{
    config::{Config, EnvVars, KEYS_TABLE},
    gateway::ApiGateway,
    queue::{SqsDeadLetters, SqsQueue, SqsSourceQueue},
    secrets::SecretsManager,
    slack::{ClientSetupError, SlackClient},
    store::{AgentStore, KeyStore, PeopleStore, ProjectStore, TaskStore},
};

/// The time limits of calls to AWS. Without them, a call that is not answered would last until the
/// function's timeout, and take what else it handles with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallTimeLimits {
    /// The limit of an attempt, after which the SDK makes another.
    pub attempt: Duration,
    /// The limit of all attempts of a call together.
    pub operation: Duration,
}

impl CallTimeLimits {
    /// The limits of functions that nobody waits for: AWS answers in milliseconds.
    pub const USUAL: Self = Self {
        attempt: Duration::from_secs(2),
        operation: Duration::from_secs(6),
    };
    /// The limits of the webhook, which has 2.5 s to answer Slack. An attempt has to outlast the long
    /// poll of a dead-letter queue, 1 s.
    pub const WEBHOOK: Self = Self {
        attempt: Duration::from_millis(1400),
        operation: Duration::from_millis(2200),
    };

    /// Returns the loader of an SDK configuration with these limits, from which every client is made.
    pub fn sdk_config(self) -> ConfigLoader {
        let limits = TimeoutConfig::builder()
            .connect_timeout(self.attempt)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation);
        // The protection is for long streams; AWS's answers here are a few KB.
        aws_config::defaults(BehaviorVersion::latest())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(limits.build())
    }
}

/// Bematic's ports, implemented on one set of AWS clients.
pub struct App {
    environment: EnvVars,
    config: Config,
    sdk: SdkConfig,
    sqs: aws_sdk_sqs::Client,
    ports: Arc<Ports>,
}

impl App {
    /// Builds the app from the process's environment variables, those of the AWS SDK included.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable that is missing or invalid.
    pub async fn from_env(limits: CallTimeLimits) -> Result<Self, ConfigError> {
        let sdk = limits.sdk_config().load().await;
        let environment = EnvVars::of_process();
        Self::new(
            environment,
            &sdk,
            Arc::new(SystemClock),
            Arc::new(RandomIds),
        )
    }

    /// Builds the app from environment variables and an SDK configuration. All clients share the
    /// HTTP connection pool of that configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable that is missing or invalid.
    pub fn new(
        environment: EnvVars,
        sdk: &SdkConfig,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdGenerator>,
    ) -> Result<Self, ConfigError> {
        let config = Config::read(&environment)?;
        let dynamo = aws_sdk_dynamodb::Client::new(sdk);
        let sqs = aws_sdk_sqs::Client::new(sdk);
        let agents = &config.agents_table;
        let task_store = TaskStore::new(dynamo.clone(), config.tasks_table.clone(), agents.clone());
        let task_store = Arc::new(task_store);
        let agent_store = Arc::new(AgentStore::new(dynamo.clone(), agents.clone()));
        let keys = config.keys_table.clone();
        let key_store = Arc::new(KeyStore::new(dynamo.clone(), keys, agents.clone()));
        let people_store = Arc::new(PeopleStore::new(dynamo.clone(), agents.clone()));
        let queue = |name| SqsQueue::new(sqs.clone(), config.queue_urls(name).source.clone());
        let queues = QueueName::iter().map(|name| (name, config.queue_urls(name).clone()));
        let management = config.management_url.clone();
        let ports = Ports {
            tasks: task_store.clone(),
            lists: task_store.clone(),
            deadlines: task_store.clone(),
            reports: task_store.clone(),
            cards: task_store.clone(),
            batches: task_store,
            agents: agent_store.clone(),
            api_keys: key_store,
            connections: agent_store.clone(),
            presence: agent_store.clone(),
            dispatch_leases: agent_store.clone(),
            breakers: agent_store,
            projects: Arc::new(ProjectStore::new(dynamo, agents.clone())),
            roles: people_store.clone(),
            memberships: people_store.clone(),
            audit_log: people_store,
            dispatch: Arc::new(queue(QueueName::Dispatch)),
            notifications: Arc::new(queue(QueueName::Notifications)),
            batch_queue: Arc::new(queue(QueueName::Batch)),
            dead_letters: Arc::new(SqsDeadLetters::new(&sqs, queues)),
            gateway: Arc::new(ApiGateway::new(sdk, management, ids.clone(), clock.clone())),
            clock,
            ids,
            settings: config.settings.clone(),
        };
        Ok(Self {
            environment,
            config,
            sdk: sdk.clone(),
            sqs,
            ports: Arc::new(ports),
        })
    }

    /// Returns the ports, which every handler is built from.
    pub fn ports(&self) -> Arc<Ports> {
        self.ports.clone()
    }

    /// Checks that the function can reach the table of API keys, named by `KEYS_TABLE`: no function
    /// has the variable but those that authenticate agents.
    ///
    /// # Errors
    /// [`ConfigError`] if the variable is missing or empty.
    pub fn require_keys_table(&self) -> Result<(), ConfigError> {
        self.environment.required(KEYS_TABLE).map(drop)
    }

    /// Returns the queue that triggers a function.
    pub fn source_queue(&self, name: QueueName) -> SqsSourceQueue {
        let urls = self.config.queue_urls(name).clone();
        SqsSourceQueue::new(self.sqs.clone(), urls, self.config.max_receives)
    }

    /// Returns the Slack app's signing secret, which `SLACK_SIGNING_SECRET_ARN` names.
    ///
    /// # Errors
    /// [`ConfigError`] if the variable is missing or empty.
    pub fn signing_secret(&self) -> Result<Arc<CachedSecret>, ConfigError> {
        let secret = self.secret("SLACK_SIGNING_SECRET_ARN")?;
        Ok(Arc::new(secret.with_previous()))
    }

    /// Returns the Slack app's bot token, which `SLACK_BOT_TOKEN_ARN` names. One that was replaced
    /// is of no use.
    ///
    /// # Errors
    /// [`ConfigError`] if the variable is missing or empty.
    pub fn bot_token(&self) -> Result<Arc<CachedSecret>, ConfigError> {
        self.secret("SLACK_BOT_TOKEN_ARN").map(Arc::new)
    }

    /// Returns the secret that a variable names, and does not read it. Only functions with a secret
    /// have a client of Secrets Manager.
    fn secret(&self, variable: &'static str) -> Result<CachedSecret, ConfigError> {
        let arn = self.environment.required(variable)?;
        let source = Arc::new(SecretsManager::new(&self.sdk, arn));
        Ok(CachedSecret::new(source, self.ports.clock.clone()))
    }

    /// Returns a client of Slack's Web API at `SLACK_API_URL`, with the app's bot token.
    ///
    /// # Errors
    /// [`ConfigError`] if one of them is missing, or the first is not a URL.
    pub fn slack_client(&self) -> Result<Arc<SlackClient>, ConfigError> {
        const ADDRESS: &str = "SLACK_API_URL";
        let address = self.environment.required(ADDRESS)?;
        let client = SlackClient::new(&address, self.bot_token()?, SlackClient::CALL_TIMEOUT);
        client
            .map(Arc::new)
            .map_err(|error: ClientSetupError| ConfigError {
                name: ADDRESS,
                problem: format!("cannot be used: {error}"),
            })
    }
}
