//! The functions: the handlers and adapters that their `main`s make, on the simulated clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use bematic::dead_letter::QueueName;
use bematic::handlers::authorize::Authorizer;
use bematic::handlers::connect::Connector;
use bematic::handlers::dispatch::Dispatcher;
use bematic::handlers::message::MessageRouter;
use bematic::handlers::notify::Notifier;
use bematic::handlers::sweep::Sweeper;
use bematic::handlers::webhook::Webhook;
use bematic::ports::Ports;
use bematic_aws::app::App;
use bematic_aws::queue::SqsSource;

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

impl Functions {
    /// All of them, as the template has them.
    pub(super) fn new(
        cloud: &Arc<Cloud>,
        config: &SdkConfig,
        template: &Template,
        seed: u64,
    ) -> Result<Self> {
        let values = values(URL, SECRET, template)?;
        let functions = template.functions(&values)?;
        let ids = Arc::new(SeededIds::new(cloud.clock, seed));
        let variables = functions.iter().flat_map(|it| it.variables.clone());
        let app = App::new(variables.collect(), config, Arc::new(cloud.clock), ids)?;
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
        let fed = |name: QueueName, source: Source| {
            let queue = app.source(name);
            Arc::new(Fed { source, queue })
        };
        macro_rules! function {
            ($name:expr, $make:expr) => {{
                let ports = app.ports();
                let make: fn(Arc<Ports>) -> _ = $make;
                Function::new($name, memory($name)?, move || make(ports.clone()))
            }};
        }
        let (ports, slack) = (app.ports(), Arc::new(Slack(cloud.clone())));
        let notifier = move || Notifier::new(ports.clone(), slack.clone());
        Ok(Self {
            authorizer: function!("ws-authorizer", Authorizer::new),
            connect: function!("ws-connect", Connector::new),
            messages: function!(MESSAGES, MessageRouter::new),
            heartbeats: function!(HEARTBEATS, MessageRouter::new),
            webhook: function!("slack-webhook", |ports| {
                Webhook::new(ports, SECRET.to_owned().into())
            }),
            dispatcher: Arc::new(function!("dispatcher", Dispatcher::new)),
            notifier: Arc::new(Function::new("notifier", memory("notifier")?, notifier)),
            sweeper: function!("sweeper", Sweeper::new),
            dispatches: fed(QueueName::Dispatch, source("dispatcher")?),
            notifications: fed(QueueName::Notifications, source("notifier")?),
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
