//! Lambda within this process: the handlers that the functions' `main`s make, on simulated clients.
//!
//! A function has as many environments as it ever had invocations at a time, each with a handler, and so
//! with memories, of its own. An invocation goes to the environment that was free last, if there is one:
//! how AWS chooses is not known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bematic::dead_letter::QueueName;
use bematic::error::BematicError;
use bematic::handlers::batch::BatchWorker;
use bematic::handlers::connect::{authorize, connect, disconnect};
use bematic::handlers::dispatch::Dispatcher;
use bematic::handlers::message::MessageRouter;
use bematic::handlers::notify::Notifier;
use bematic::handlers::sqs;
use bematic::handlers::sweep::Sweeper;
use bematic::handlers::webhook::{Request, Webhook};
use bematic::ports::Ports;
use bematic_aws::app::App;
use bematic_aws::queue::SqsSource;
use bematic_aws::slack::SlackClient;
use bematic_protocol::ids::Ids;
use bematic_protocol::time::Clock;
use fake_aws::{FakeAws, Message};
use local_slack::Slack;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, from_value, json, to_value};
use tokio::time::{Instant, sleep};

use super::meter::{CAUSE, Cause, Meter};
use super::slack::Wire;
use crate::common::lock;
use crate::driver::{Functions, HEARTBEATS, MESSAGES, WEBHOOK};
use crate::events::is_of_fifo;
use crate::log::Service;
use crate::slack::BOT_TOKEN;
use crate::template::Function;

/// What an invocation takes beside its calls: the bench measures less than that of a processor.
const OWN: Duration = Duration::from_millis(1);
/// What the first invocation of an environment waits for: the bench measures some 10 ms from exec
/// to the first poll; the rest is an assumption of what AWS needs to place and start it.
const START: Duration = Duration::from_millis(200);

/// The address of Slack's Web API.
const SLACK_API: &str = "http://slack.invalid/api";

/// How a function was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Invocations.
    pub invocations: u64,
    /// Environments there were at the end.
    pub environments: usize,
    /// Of the invocations, those that waited for their environment to start.
    pub starts: u64,
    /// The most invocations at a time.
    pub most: u64,
    /// Seconds of all invocations: by the seconds of the run, how many there are at a time.
    pub busy_seconds: f64,
    #[serde(skip)]
    now: u64,
}

impl Usage {
    fn begin(&mut self, start: bool) {
        self.invocations += 1;
        self.now += 1;
        self.most = self.most.max(self.now);
        if start {
            self.starts += 1;
            self.environments += 1;
        }
    }
}

/// All functions.
pub(super) struct Lambda {
    functions: BTreeMap<String, Deployed>,
    meter: Arc<Meter>,
    slack: Arc<SlackClient>,
}

/// A function.
struct Deployed {
    memory: u64,
    app: App,
    idle: Mutex<Vec<Handler>>,
    usage: Mutex<Usage>,
}

impl Lambda {
    pub(super) fn new(
        functions: &[Function],
        aws: &FakeAws,
        meter: &Arc<Meter>,
        slack: &Arc<Slack>,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn Ids>,
    ) -> Result<Self> {
        let config = aws.sdk_config();
        let deployed = functions.iter().map(|function| {
            let variables = function.variables.clone().into_iter().collect();
            let deployed = Deployed {
                memory: function.memory,
                app: App::new(variables, &config, clock.clone(), ids.clone())?,
                idle: Mutex::default(),
                usage: Mutex::default(),
            };
            Ok((function.name.clone(), deployed))
        });
        Ok(Self {
            functions: deployed.collect::<Result<_>>()?,
            meter: meter.clone(),
            slack: Arc::new(SlackClient::with_transport(
                Arc::new(Wire::new(meter.clone(), slack)),
                SLACK_API,
                BOT_TOKEN.into(),
            )?),
        })
    }

    /// How each function was used since this was asked for last.
    pub(super) fn take_usage(&self) -> BTreeMap<String, Usage> {
        let functions = self.functions.iter();
        functions
            .map(|(name, function)| {
                let mut usage = lock(&function.usage);
                let kept = Usage {
                    now: usage.now,
                    most: usage.now,
                    environments: usage.environments,
                    ..Usage::default()
                };
                (name.clone(), std::mem::replace(&mut *usage, kept))
            })
            .collect()
    }

    /// What brings the event costs, and takes its time.
    async fn caused(&self, name: &str, event: &Value, causes: &[Cause]) {
        if let Some(fifo) = is_of_fifo(event) {
            for cause in causes {
                self.meter.received(*cause, fifo, causes.len());
            }
            sleep(self.meter.prices.latency(Service::Sqs)).await;
        }
        let Some(cause) = causes.first() else { return };
        let bytes = event["body"].as_str().map_or(0, str::len);
        match name {
            MESSAGES | HEARTBEATS => self.meter.message(*cause, bytes),
            WEBHOOK => self.meter.request(*cause),
            _ => {}
        }
    }
}

impl Functions for Lambda {
    type Label = Cause;

    fn label(&self, _: &str, message: &Message) -> Cause {
        self.meter.sent_for(&message.id)
    }

    async fn invoke(&self, name: &str, mut event: Value, causes: &[Cause]) -> Result<Value> {
        let function = self.functions.get(name);
        let function = function.with_context(|| format!("the template has no function {name}"))?;
        let cause = *causes.first().context("an invocation is for something")?;
        self.caused(name, &event, causes).await;
        if let Some(records) = event["Records"].as_array_mut() {
            for (record, cause) in records.iter_mut().zip(causes) {
                let message = record["body"].as_str().unwrap_or_default();
                let cause = to_value(cause)?;
                record["body"] = format!(r#"{{"cause":{cause},"message":{message}}}"#).into();
            }
        }
        let idle = lock(&function.idle).pop();
        lock(&function.usage).begin(idle.is_none());
        let handler = if let Some(handler) = idle {
            handler
        } else {
            sleep(START).await;
            Handler::new(name, &function.app, &self.slack)?
        };
        let begun = Instant::now();
        sleep(OWN).await;
        let answer = CAUSE.scope(cause, handler.handle(event)).await;
        let billed = begun.elapsed();
        lock(&function.idle).push(handler);
        let mut usage = lock(&function.usage);
        usage.now -= 1;
        usage.busy_seconds += billed.as_secs_f64();
        drop(usage);
        self.meter.invocation(name, function.memory, billed, causes);
        answer
    }
}

/// An environment's handler.
enum Handler {
    Authorize(Arc<Ports>),
    Connect(Arc<Ports>),
    Disconnect(Arc<Ports>),
    Messages(Box<MessageRouter>),
    Webhook(Box<Webhook>),
    Dispatcher(Box<Dispatcher>, SqsSource),
    Notifier(Box<Notifier>, SqsSource),
    BatchWorker(Box<BatchWorker>, SqsSource),
    Sweeper(Sweeper),
}

impl Handler {
    /// What the function's `main` makes.
    fn new(function: &str, app: &App, slack: &Arc<SlackClient>) -> Result<Self> {
        let ports = app.ports();
        let source = |name| app.source(name);
        Ok(match function {
            "ws-authorizer" => Self::Authorize(ports),
            "ws-connect" => Self::Connect(ports),
            "ws-disconnect" => Self::Disconnect(ports),
            MESSAGES | HEARTBEATS => Self::Messages(MessageRouter::new(ports).into()),
            WEBHOOK => Self::Webhook(Webhook::new(ports, app.signing_secret()?).into()),
            "dispatcher" => {
                Self::Dispatcher(Dispatcher::new(ports).into(), source(QueueName::Dispatch))
            }
            "notifier" => {
                let notifier = Notifier::new(ports, slack.clone());
                Self::Notifier(notifier.into(), source(QueueName::Notifications))
            }
            "batch" => Self::BatchWorker(BatchWorker::new(ports).into(), source(QueueName::Batch)),
            "sweeper" => Self::Sweeper(Sweeper::new(ports)),
            _ => bail!("the simulation does not know the function {function}"),
        })
    }

    async fn handle(&self, event: Value) -> Result<Value> {
        match self {
            Self::Authorize(ports) => {
                let policy = authorize(ports, &from_value(event)?).await;
                policy.map_err(|refusal| anyhow!("the handshake is refused: {}", refusal.code))
            }
            Self::Connect(ports) => Ok(connect(ports, &from_value(event)?).await),
            Self::Disconnect(ports) => {
                disconnect(ports, &from_value(event)?).await.ok();
                Ok(json!({ "statusCode": 200 }))
            }
            Self::Messages(it) => {
                it.handle(from_value(event)?).await;
                Ok(json!({ "statusCode": 200 }))
            }
            Self::Webhook(it) => {
                let header = |name: &str| event["headers"][name.to_lowercase()].as_str();
                let text = |name: &str| event[name].as_str().unwrap_or_default();
                let request = Request::new(text("rawPath"), header, text("body").as_bytes());
                let response = it.handle(request).await;
                Ok(json!({ "statusCode": response.status, "body": response.body }))
            }
            Self::Dispatcher(it, source) => each(event, source, |message| it.handle(message)).await,
            Self::Notifier(it, source) => each(event, source, |message| it.handle(message)).await,
            Self::BatchWorker(it, source) => {
                each(event, source, |message| it.handle(message)).await
            }
            Self::Sweeper(it) => {
                it.sweep().await?;
                Ok(Value::Null)
            }
        }
    }
}

/// A message with what it was sent for.
#[derive(Deserialize)]
struct Caused<M> {
    cause: Cause,
    message: M,
}

/// Handles messages of a queue, each for its cause.
async fn each<M, F>(event: Value, source: &SqsSource, handle: impl Fn(M) -> F) -> Result<Value>
where
    M: DeserializeOwned,
    F: Future<Output = Result<(), BematicError>>,
{
    let handle = |caused: Caused<M>| CAUSE.scope(caused.cause, handle(caused.message));
    let response = sqs::each(from_value(event)?, source, handle).await;
    Ok(to_value(response)?)
}
