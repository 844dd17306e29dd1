//! Lambda within this process: the handlers that the functions' `main`s make, on simulated clients.
//!
//! A function has as many environments as it ever had invocations at a time, each with a handler of its own.
//! An invocation goes to the environment that was free last: how AWS chooses is not known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use bematic::handlers::connect::{authorize, connect, disconnect};
use bematic::handlers::webhook::{Request, Webhook};
use bematic::handlers::{
    batch::BatchWorker, dispatch::Dispatcher, message::MessageRouter, notify::Notifier, sqs,
    sweep::Sweeper,
};
use bematic::{dead_letter::QueueName, error::BematicError};
use bematic_aws::{app::App, queue::SqsSourceQueue, slack::SlackClient};
use bematic_protocol::ids::IdGenerator;
use fake_aws::Message;
use local_slack::Slack;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, from_value, json, to_value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::meter::{CauseAccount, InProcessSlackTransport, Meter, WORK, Work};
use crate::common::{HEARTBEAT_FUNCTION, MESSAGE_FUNCTION, WEBHOOK_FUNCTION, lock};
use crate::driver::{Cloud, FunctionInvoker};
use crate::events::is_fifo_source;
use crate::invocation::Service;
use crate::template::EventSourceMapping;

const NOTIFIER_FUNCTION: &str = "notifier";
pub(super) const SIMULATED_BASE_URL: &str = "http://simulated.invalid";
/// What an invocation takes beside its calls: the bench measures less than that of a processor.
const TIME_OUTSIDE_CALLS: Duration = Duration::from_millis(1);
/// What the first invocation of an environment waits for: the bench measures some 10 ms from exec
/// to the first poll; the rest is an assumption of what AWS needs to place and start it.
const COLD_START_TIME: Duration = Duration::from_millis(200);

/// How long at most before a queue is looked at again.
const MAX_QUEUE_POLL_INTERVAL: Duration = Duration::from_mins(15);

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionUsage {
    pub(super) invocations: u64,
    pub(super) environments: usize,
    pub(super) starts: u64,
    pub(super) most: u64,
    /// Seconds of all invocations: by the seconds of the run, how many there are at a time.
    pub(super) busy_seconds: f64,
    #[serde(skip)]
    now: u64,
}

impl FunctionUsage {
    fn begin_invocation(&mut self, start: bool) {
        self.invocations += 1;
        self.now += 1;
        self.most = self.most.max(self.now);
        if start {
            self.starts += 1;
            self.environments += 1;
        }
    }
}

pub(super) struct Lambda {
    pub(super) cloud: Cloud,
    functions: BTreeMap<String, DeployedFunction>,
    pub(super) meter: Arc<Meter>,
    slack: Arc<SlackClient>,
}

struct DeployedFunction {
    app: App,
    idle: Mutex<Vec<Box<dyn Handler>>>,
    usage: Mutex<FunctionUsage>,
}

impl Lambda {
    pub(super) fn new(
        cloud: Cloud,
        meter: Arc<Meter>,
        slack: Arc<Slack>,
        ids: &Arc<dyn IdGenerator>,
    ) -> Result<Self> {
        let config = cloud.aws.sdk_config();
        let functions = cloud.functions.iter().map(|(name, function)| {
            let variables = function.variables.clone().into_iter().collect();
            let deployed = DeployedFunction {
                app: App::new(variables, &config, cloud.clock.clone(), ids.clone())?,
                idle: Mutex::default(),
                usage: Mutex::default(),
            };
            Ok((name.clone(), deployed))
        });
        let transport = Arc::new(InProcessSlackTransport(meter.clone(), slack));
        let address = format!("{SIMULATED_BASE_URL}/api");
        let functions: BTreeMap<_, DeployedFunction> = functions.collect::<Result<_>>()?;
        let notifier = functions.get(NOTIFIER_FUNCTION);
        let token = notifier.context("there is no notifier")?.app.bot_token()?;
        let slack = SlackClient::with_transport(transport, &address, token)?;
        Ok(Self {
            functions,
            cloud,
            meter,
            slack: Arc::new(slack),
        })
    }

    pub(super) fn take_usage(&self) -> BTreeMap<String, FunctionUsage> {
        let usage = self.functions.iter().map(|(name, function)| {
            let mut usage = lock(&function.usage);
            let next = FunctionUsage {
                now: usage.now,
                most: usage.now,
                environments: usage.environments,
                ..FunctionUsage::default()
            };
            (name.clone(), std::mem::replace(&mut *usage, next))
        });
        usage.collect()
    }

    /// Invokes a function with the messages of its queue until it fails: as many messages at a time, and
    /// invocations side by side, as the template says.
    pub(super) async fn run_event_source_mapping(
        self: Arc<Self>,
        function: String,
        source: EventSourceMapping,
    ) -> Result<()> {
        let queue = self.cloud.aws.queue(&source.queue);
        let mut running = JoinSet::new();
        loop {
            // Begun before the queue is looked at: what is sent meanwhile is noticed.
            let sent = self.meter.sent.notified();
            while running.len() < source.concurrency {
                let received = queue.receive(source.batch);
                if received.is_empty() {
                    break;
                }
                let (lambda, function, source) = (self.clone(), function.clone(), source.clone());
                running.spawn_local(async move {
                    let failed = lambda
                        .handle_received_messages(&function, &source, &received)
                        .await;
                    failed.map(drop)
                });
            }
            let free = running.len() < source.concurrency;
            let now = self.cloud.clock.now().as_millis();
            let until = |due: u64| Duration::from_millis(due.saturating_sub(now).max(1));
            let next = queue.next_due().map_or(MAX_QUEUE_POLL_INTERVAL, until);
            tokio::select! {
                // What waited for the rest of its group can be received now.
                Some(ended) = running.join_next() => ended??,
                () = sent, if free => {}
                () = sleep(next), if free => {}
            }
        }
    }
}

impl FunctionInvoker for Lambda {
    type InvocationLabel = Work;

    fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    fn queue_message_label(&self, _: &str, message: &Message) -> Work {
        self.meter.work_of_message(&message.id)
    }

    async fn invoke(&self, name: &str, mut event: Value, work: &[Work]) -> Result<Value> {
        let memory = self.cloud.function(name)?.memory;
        let function = &self.functions[name];
        let first = *work.first().context("an invocation is for something")?;
        let prices = &self.meter.prices;
        let bytes = event["body"].as_str().map_or(0, str::len);
        let fifo_source = is_fifo_source(&event);
        let cost = prices.event_delivery_cost(name, bytes, fifo_source);
        let charge = |account: &mut CauseAccount, part| account.cost += cost.times(part);
        self.meter.split_among_causes(work, charge);
        if fifo_source.is_some() {
            sleep(prices.assumed_latency(Service::Sqs)).await;
        }
        if let Some(records) = event["Records"].as_array_mut() {
            for (record, work) in records.iter_mut().zip(work) {
                let message = record["body"].as_str().unwrap_or_default();
                let work = to_value(work)?;
                record["body"] = format!(r#"{{"work":{work},"message":{message}}}"#).into();
            }
        }
        let idle = lock(&function.idle).pop();
        lock(&function.usage).begin_invocation(idle.is_none());
        let handler = if let Some(handler) = idle {
            handler
        } else {
            sleep(COLD_START_TIME).await;
            build_handler(name, &function.app, self.slack.clone())?
        };
        let begun = Instant::now();
        sleep(TIME_OUTSIDE_CALLS).await;
        let answer = WORK.scope(first, handler.handle(event)).await;
        let billed = begun.elapsed();
        lock(&function.idle).push(handler);
        let mut usage = lock(&function.usage);
        usage.now -= 1;
        usage.busy_seconds += billed.as_secs_f64();
        drop(usage);
        let lambda = prices.lambda_cost(memory, billed);
        self.meter.split_among_causes(work, |account, part| {
            account.cost.lambda += lambda * part;
            *account.invocations.entry(name.to_owned()).or_default() += part;
        });
        answer
    }
}

#[async_trait(?Send)]
trait Handler: Send {
    async fn handle(&self, event: Value) -> Result<Value>;
}

#[async_trait(?Send)]
impl<F: AsyncFn(Value) -> Result<Value> + Send> Handler for F {
    async fn handle(&self, event: Value) -> Result<Value> {
        self(event).await
    }
}

fn box_handler(handler: impl AsyncFn(Value) -> Result<Value> + Send + 'static) -> Box<dyn Handler> {
    Box::new(handler)
}

/// Returns the handler that a function's `main` makes.
fn build_handler(name: &str, app: &App, slack: Arc<SlackClient>) -> Result<Box<dyn Handler>> {
    let ports = app.ports();
    Ok(match name {
        "ws-authorizer" => box_handler(async move |event| {
            let policy = authorize(&ports, &from_value(event)?).await;
            policy.map_err(|refusal| anyhow!("the handshake is refused: {}", refusal.code))
        }),
        "ws-connect" => {
            box_handler(async move |event| Ok(connect(&ports, &from_value(event)?).await))
        }
        "ws-disconnect" => box_handler(async move |event| {
            disconnect(&ports, &from_value(event)?).await.ok();
            Ok(json!({ "statusCode": 200 }))
        }),
        MESSAGE_FUNCTION | HEARTBEAT_FUNCTION => {
            let router = MessageRouter::new(ports);
            box_handler(async move |event| {
                router.handle(from_value(event)?).await;
                Ok(json!({ "statusCode": 200 }))
            })
        }
        WEBHOOK_FUNCTION => {
            let webhook = Webhook::new(ports, app.signing_secret()?, slack);
            box_handler(async move |event| {
                let header = |name: &str| event["headers"][name.to_lowercase()].as_str();
                let text = |name: &str| event[name].as_str().unwrap_or_default();
                let request = Request::new(text("rawPath"), header, text("body").as_bytes());
                let response = webhook.handle(request).await;
                Ok(json!({ "statusCode": response.status, "body": response.body }))
            })
        }
        "dispatcher" => {
            let (source, dispatcher) = (
                app.source_queue(QueueName::Dispatch),
                Dispatcher::new(ports),
            );
            box_handler(async move |event| {
                handle_each_message(event, &source, |it| dispatcher.handle(it)).await
            })
        }
        NOTIFIER_FUNCTION => {
            let source = app.source_queue(QueueName::Notifications);
            let notifier = Notifier::new(ports, slack);
            box_handler(async move |event| {
                handle_each_message(event, &source, |it| notifier.handle(it)).await
            })
        }
        "batch" => {
            let (source, worker) = (app.source_queue(QueueName::Batch), BatchWorker::new(ports));
            box_handler(async move |event| {
                handle_each_message(event, &source, |it| worker.handle(it)).await
            })
        }
        "sweeper" => {
            let sweeper = Sweeper::new(ports);
            box_handler(async move |_| {
                sweeper.sweep().await?;
                Ok(Value::Null)
            })
        }
        _ => bail!("the simulation does not know the function {name}"),
    })
}

#[derive(Deserialize)]
struct MessageWithWork<M> {
    work: Work,
    message: M,
}

async fn handle_each_message<M, F>(
    event: Value,
    source: &SqsSourceQueue,
    handle: impl Fn(M) -> F,
) -> Result<Value>
where
    M: DeserializeOwned,
    F: Future<Output = Result<(), BematicError>>,
{
    let handle = |it: MessageWithWork<M>| WORK.scope(it.work, handle(it.message));
    let response = sqs::handle_each(from_value(event)?, source, handle).await;
    Ok(to_value(response)?)
}
