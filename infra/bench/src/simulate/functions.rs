//! The functions: the handlers and adapters that their `main`s make, on the simulated clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use bematic::breaker::BreakerConfig;
use bematic::dead_letter::QueueName;
use bematic::handlers::authorize::Authorizer;
use bematic::handlers::connect::Connector;
use bematic::handlers::dispatch::Dispatcher;
use bematic::handlers::message::MessageRouter;
use bematic::handlers::notify::Notifier;
use bematic::handlers::sweep::Sweeper;
use bematic::handlers::transitions::Transitions;
use bematic::handlers::webhook::{ANSWER_WITHIN, Parts, Webhook};
use bematic::task::TaskPolicy;
use bematic_aws::gateway::ApiGateway;
use bematic_aws::queue::{SqsBatches, SqsDeadLetters, SqsDispatch, SqsNotifications, SqsSource};
use bematic_aws::store::{AgentStore, ProjectStore, TaskStore};

use super::cloud::{Cloud, Slack, URL};
use super::lambda::{Function, Usage};
use super::time::SeededIds;
use crate::aws::values;
use crate::stage::{HEARTBEATS, MESSAGES, SECRET};
use crate::template::{Source, Template};

/// The functions that take part: those of a task's life, of a connection's, and the sweeper.
pub(super) struct Functions {
    pub(super) authorizer: Function<Authorizer>,
    pub(super) connect: Function<Connector>,
    pub(super) messages: Function<MessageRouter>,
    pub(super) heartbeats: Function<MessageRouter>,
    pub(super) webhook: Function<Webhook>,
    pub(super) dispatcher: Arc<Function<Dispatcher>>,
    pub(super) notifier: Arc<Function<Notifier>>,
    pub(super) sweeper: Function<Sweeper>,
    pub(super) dispatches: Arc<Fed>,
    pub(super) notifications: Arc<Fed>,
}

/// What feeds a function, and where it gives up what it cannot do.
pub(super) struct Fed {
    pub(super) source: Source,
    pub(super) queue: SqsSource,
}

/// What the adapters are made of.
#[derive(Clone)]
struct Adapters {
    cloud: Arc<Cloud>,
    dynamo: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    gateway: ApiGateway,
    ids: Arc<SeededIds>,
    values: BTreeMap<String, String>,
}

impl Adapters {
    fn new(cloud: &Arc<Cloud>, config: &SdkConfig, template: &Template, seed: u64) -> Result<Self> {
        let values = values(URL, SECRET, template)?;
        let endpoint = values.get("WEBSOCKET_MANAGEMENT_URL").cloned();
        let ids = Arc::new(SeededIds::new(cloud.clock, seed));
        let clock = Arc::new(cloud.clock);
        let gateway = ApiGateway::new(config, endpoint.unwrap_or_default(), ids.clone(), clock);
        Ok(Self {
            cloud: cloud.clone(),
            dynamo: aws_sdk_dynamodb::Client::new(config),
            sqs: aws_sdk_sqs::Client::new(config),
            gateway,
            ids,
            values,
        })
    }

    fn url(&self, queue: &str) -> String {
        self.values.get(queue).cloned().unwrap_or_default()
    }

    fn tasks(&self) -> Arc<TaskStore> {
        let tables = ("TasksTable".to_owned(), "AgentsTable".to_owned());
        Arc::new(TaskStore::new(self.dynamo.clone(), tables.0, tables.1))
    }

    fn agents(&self) -> Arc<AgentStore> {
        Arc::new(AgentStore::new(self.dynamo.clone(), "AgentsTable".into()))
    }

    fn dispatch(&self) -> Arc<SqsDispatch> {
        Arc::new(SqsDispatch::new(
            self.sqs.clone(),
            self.url("DispatchQueue"),
        ))
    }

    fn notifications(&self) -> Arc<SqsNotifications> {
        let url = self.url("NotificationsQueue");
        Arc::new(SqsNotifications::new(self.sqs.clone(), url))
    }

    fn batches(&self) -> Arc<SqsBatches> {
        Arc::new(SqsBatches::new(self.sqs.clone(), self.url("BatchQueue")))
    }

    fn gateway(&self) -> Arc<ApiGateway> {
        Arc::new(self.gateway.clone())
    }

    fn transitions(&self) -> Transitions {
        Transitions::new(
            self.tasks(),
            self.agents(),
            self.dispatch(),
            self.notifications(),
            TaskPolicy::default(),
            BreakerConfig::deployed(),
        )
    }

    fn router(&self) -> MessageRouter {
        MessageRouter::new(
            self.tasks(),
            self.agents(),
            self.gateway(),
            self.dispatch(),
            self.notifications(),
            self.transitions(),
            Arc::new(self.cloud.clock),
        )
    }

    fn webhook(&self) -> Webhook {
        let dead_letters = SqsDeadLetters::new(&self.sqs, Vec::new());
        let parts = Parts {
            tasks: self.tasks(),
            agents: self.agents(),
            breakers: self.agents(),
            breaker: BreakerConfig::deployed(),
            projects: Arc::new(ProjectStore::new(self.dynamo.clone(), "AgentsTable".into())),
            dispatch: self.dispatch(),
            notifications: self.notifications(),
            batches: self.tasks(),
            batch_queue: self.batches(),
            dead_letters: Arc::new(dead_letters),
            policy: TaskPolicy::default(),
            clock: Arc::new(self.cloud.clock),
            ids: self.ids.clone(),
        };
        Webhook::new(SECRET.to_owned().into(), ANSWER_WITHIN, parts)
    }

    fn dispatcher(&self) -> Dispatcher {
        Dispatcher {
            tasks: self.tasks(),
            agents: self.agents(),
            breakers: self.agents(),
            gateway: self.gateway(),
            dispatch: self.dispatch(),
            notifications: self.notifications(),
            transitions: self.transitions(),
            clock: Arc::new(self.cloud.clock),
            ids: self.ids.clone(),
        }
    }

    fn notifier(&self) -> Notifier {
        Notifier {
            tasks: self.tasks(),
            batches: self.tasks(),
            cards: self.tasks(),
            agents: self.agents(),
            breakers: self.agents(),
            operations_channel: None,
            slack: Arc::new(Slack(self.cloud.clone())),
            clock: Arc::new(self.cloud.clock),
        }
    }

    fn sweeper(&self) -> Sweeper {
        Sweeper {
            tasks: self.tasks(),
            agents: self.agents(),
            gateway: self.gateway(),
            dispatch: self.dispatch(),
            batches: self.tasks(),
            batch_queue: self.batches(),
            clock: Arc::new(self.cloud.clock),
        }
    }

    fn fed(&self, name: QueueName, source: Source) -> Arc<Fed> {
        let dead = match name {
            QueueName::Dispatch => "DispatchDeadLetters",
            QueueName::Notifications => "NotificationsDeadLetters",
            QueueName::Batch => "BatchDeadLetters",
        };
        let (url, dead) = (self.url(&source.queue), self.url(dead));
        Arc::new(Fed {
            source,
            queue: SqsSource::new(self.sqs.clone(), url, dead, 10),
        })
    }
}

impl Functions {
    /// All of them, as the template has them.
    pub(super) fn new(
        cloud: &Arc<Cloud>,
        config: &SdkConfig,
        template: &Template,
        seed: u64,
    ) -> Result<Self> {
        let adapters = Adapters::new(cloud, config, template, seed)?;
        let functions = template.functions(&adapters.values)?;
        let find = |name: &str| {
            let mut functions = functions.iter();
            let function = functions.find(|function| function.name == name);
            function.with_context(|| format!("the template has no function {name}"))
        };
        let memory = |name: &str| Ok::<_, anyhow::Error>(find(name)?.memory);
        let source = |name: &str| {
            let source = find(name)?.source.clone();
            source.with_context(|| format!("no queue feeds {name}"))
        };
        macro_rules! function {
            ($name:expr, $make:expr) => {{
                let adapters = adapters.clone();
                let make: fn(&Adapters) -> _ = $make;
                Function::new($name, memory($name)?, move || make(&adapters))
            }};
        }
        Ok(Self {
            authorizer: function!("ws-authorizer", |it| Authorizer::new(it.agents())),
            connect: function!("ws-connect", |it| {
                Connector::new(it.agents(), it.dispatch(), it.gateway())
            }),
            messages: function!(MESSAGES, Adapters::router),
            heartbeats: function!(HEARTBEATS, Adapters::router),
            webhook: function!("slack-webhook", Adapters::webhook),
            dispatcher: Arc::new(function!("dispatcher", Adapters::dispatcher)),
            notifier: Arc::new(function!("notifier", Adapters::notifier)),
            sweeper: function!("sweeper", Adapters::sweeper),
            dispatches: adapters.fed(QueueName::Dispatch, source("dispatcher")?),
            notifications: adapters.fed(QueueName::Notifications, source("notifier")?),
        })
    }

    /// How each was used since this was asked for last.
    pub(super) fn take_usage(&self) -> BTreeMap<&'static str, Usage> {
        [
            (self.authorizer.name, self.authorizer.take_usage()),
            (self.connect.name, self.connect.take_usage()),
            (self.messages.name, self.messages.take_usage()),
            (self.heartbeats.name, self.heartbeats.take_usage()),
            (self.webhook.name, self.webhook.take_usage()),
            (self.dispatcher.name, self.dispatcher.take_usage()),
            (self.notifier.name, self.notifier.take_usage()),
            (self.sweeper.name, self.sweeper.take_usage()),
        ]
        .into()
    }
}
