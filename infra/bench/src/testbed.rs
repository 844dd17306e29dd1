//! The testbed: the real binaries, an environment of each function at a time, on an AWS of their
//! own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic_protocol::time::{Clock as _, SystemClock};
use fake_aws::{FakeAws, Message};
use serde_json::Value;
use xtask::Workspace;

use crate::aws::{FakeAwsServer, store_membership, store_secrets};
use crate::common::{FLOOR_FUNCTION, MESSAGE_FUNCTION, lock};
use crate::driver::{Cloud, FunctionInvoker};
use crate::environment::Environment;
use crate::events::is_fifo_source;
use crate::invocation::{Call, Invocation, InvocationKind, SpecialCase, time_outside_calls};
use crate::template::{Function, Template};

/// Invocations of an environment that are not warm yet.
const WARM_UP_INVOCATIONS: usize = 3;
/// Longer than an invocation of a warm environment takes here, in milliseconds.
const MAX_HANDLING_MILLIS: u64 = 500;
/// The case of an invocation whose environment remembered an earlier state: a write was refused.
pub(crate) const VERSION_CONFLICT_CASE: SpecialCase = Some("version conflict");

/// Which messages of the queues are to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryScope {
    Due,
    /// Those that were sent without a delay of their own, without waiting.
    Undelayed,
    /// All, without waiting.
    All,
}

pub(crate) struct Testbed {
    pub(crate) cloud: Cloud,
    pub(crate) server: FakeAwsServer,
    binaries: BTreeMap<String, PathBuf>,
    logs: PathBuf,
    environments: Mutex<BTreeMap<String, Environment>>,
    /// The other environment of [`MESSAGE_FUNCTION`], once there is one.
    other: Mutex<Option<Environment>>,
    log: Mutex<Vec<Invocation>>,
    shown: Mutex<BTreeSet<String>>,
    chains: Mutex<Chains>,
    /// The queues' time: the functions', and what was not waited for.
    queue_time: fake_aws::Clock,
    /// Milliseconds that were not waited for.
    skipped: Arc<AtomicU64>,
}

impl Testbed {
    /// Builds a testbed of binaries by function; their output goes to `target/bench`.
    pub(crate) async fn new(
        workspace: &Workspace,
        binaries: BTreeMap<String, PathBuf>,
    ) -> Result<Self> {
        let template = Template::read(workspace)?;
        let logs = workspace.join("target/bench");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let skipped = Arc::new(AtomicU64::new(0));
        let ahead = skipped.clone();
        let now = move || SystemClock.now().as_millis() + ahead.load(Ordering::Relaxed);
        let queue_time: fake_aws::Clock = Arc::new(now);
        let aws = FakeAws::new(&template.aws, queue_time.clone());
        store_secrets(&aws);
        store_membership(&aws, SystemClock.now()).await?;
        aws.set_request_unit_metering(true);
        aws.calls().set_recording(false);
        let server = FakeAwsServer::start(aws.clone()).await?;
        let mut functions = template.functions(&aws, &server.url)?;
        let floor = Function {
            memory: 256,
            timeout: Duration::from_secs(15),
            variables: BTreeMap::new(),
            source: None,
        };
        functions.insert(FLOOR_FUNCTION.to_owned(), floor);
        Ok(Self {
            cloud: Cloud {
                aws,
                functions,
                clock: Arc::new(SystemClock),
            },
            server,
            binaries,
            logs,
            environments: Mutex::default(),
            other: Mutex::default(),
            log: Mutex::default(),
            shown: Mutex::default(),
            chains: Mutex::default(),
            queue_time,
            skipped,
        })
    }

    /// Whether the function, or the floor, can be invoked.
    pub(crate) fn has_binary(&self, name: &str) -> bool {
        self.binaries.contains_key(name)
    }

    /// Starts an environment of a function, which is not the one that is invoked.
    pub(crate) async fn start_environment(&self, name: &str) -> Result<Environment> {
        let binary = self.binaries.get(name);
        let binary = binary.with_context(|| format!("{name} was not built"))?;
        let log = self.logs.join(format!("{name}.log"));
        let function = self.cloud.function(name)?;
        Environment::start(name, binary, function, &self.server.url, log).await
    }

    pub(crate) fn invocation_log(&self) -> MutexGuard<'_, Vec<Invocation>> {
        lock(&self.log)
    }

    /// Has agents' messages handled by the other of two environments from now on.
    pub(crate) fn swap_message_environment(&self) {
        let present = lock(&self.environments).remove(MESSAGE_FUNCTION);
        if let Some(next) = std::mem::replace(&mut *lock(&self.other), present) {
            lock(&self.environments).insert(MESSAGE_FUNCTION.to_owned(), next);
        }
    }

    /// The most memory that a function's environment has had, in KB; 0 if there is none.
    pub(crate) fn peak_memory_kb(&self, name: &str) -> Result<u64> {
        let environments = lock(&self.environments);
        environments
            .get(name)
            .map_or(Ok(0), Environment::peak_memory_kb)
    }

    /// The bytes of the output of all present environments until now.
    pub(crate) fn log_bytes(&self) -> u64 {
        let environments = lock(&self.environments);
        environments.values().map(Environment::log_bytes).sum()
    }

    /// Whether a refresh of the task waits for the notifier that the present environment of
    /// [`MESSAGE_FUNCTION`] has enqueued, and will still wait when the environment has handled
    /// another message.
    pub(crate) fn has_waiting_refresh(&self, task: &str) -> bool {
        let handled = (self.queue_time)() + MAX_HANDLING_MILLIS;
        let environments = lock(&self.environments);
        let sent = environments.get(MESSAGE_FUNCTION).map(|it| &it.sent);
        let waiting = self.cloud.aws.queue("NotificationsQueue").peek();
        let mut later = waiting.iter().filter(|it| it.due > handled);
        later.any(|it| {
            it.group.as_deref() == Some(task) && sent.is_some_and(|sent| sent.contains(&it.id))
        })
    }

    /// Invokes the functions with what waits for them in their queues, each message by itself, and
    /// with what they send meanwhile. It is an error if a function gives a message back.
    pub(crate) async fn deliver_until_idle(&self, which: DeliveryScope) -> Result<()> {
        let next = || {
            self.cloud
                .event_source_mappings()
                .find_map(|(function, source)| {
                    let received = self.cloud.aws.queue(&source.queue).receive(1);
                    (!received.is_empty()).then_some((function, source, received))
                })
        };
        loop {
            while let Some((function, source, received)) = next() {
                let failed = self
                    .handle_received_messages(function, source, &received)
                    .await?;
                if !failed.is_empty() {
                    bail!("{function} gave {failed:?} back; its output says why");
                }
            }
            let wanted = |message: &Message| match which {
                DeliveryScope::Due => false,
                DeliveryScope::Undelayed => !message.delayed,
                DeliveryScope::All => true,
            };
            let Some(wait) = self.time_until_next_message(wanted) else {
                return Ok(());
            };
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.skipped.fetch_add(millis, Ordering::Relaxed);
        }
    }

    /// How long until the next message that is wanted can be received.
    pub(crate) fn time_until_next_message(
        &self,
        wanted: impl Fn(&Message) -> bool,
    ) -> Option<Duration> {
        let queues = self
            .cloud
            .event_source_mappings()
            .map(|(_, source)| &source.queue);
        let waiting = queues.flat_map(|id| self.cloud.aws.queue(id).peek());
        let due = waiting.filter(wanted).map(|message| message.due).min()?;
        let wait = due.saturating_sub((self.queue_time)());
        Some(Duration::from_millis(wait))
    }
}

/// How many invocations led to each other by messages.
#[derive(Debug, Default)]
struct Chains {
    /// The number up to the invocation that sent each message.
    by_message: HashMap<String, u32>,
    longest: u32,
}

impl Testbed {
    /// The most invocations that led to each other by messages.
    pub(crate) fn longest_chain(&self) -> u32 {
        lock(&self.chains).longest
    }

    /// Returns the number of invocations up to that of an event, which may be of a queue.
    fn chain_of(&self, event: &Value) -> u32 {
        let chains = lock(&self.chains);
        let records = event["Records"].as_array().into_iter().flatten();
        let ids = records.filter_map(|record| record["messageId"].as_str());
        let before = ids.filter_map(|id| chains.by_message.get(id)).max();
        before.copied().unwrap_or(0) + 1
    }

    /// Records what an invocation sent.
    fn record_chain(&self, chain: u32, calls: &[Call]) {
        let mut chains = lock(&self.chains);
        chains.longest = chains.longest.max(chain);
        let sent = calls.iter().flat_map(|call| &call.message_ids);
        let sent: Vec<_> = sent.map(|id| (id.clone(), chain)).collect();
        chains.by_message.extend(sent);
    }
}

impl FunctionInvoker for Testbed {
    type InvocationLabel = InvocationKind;

    fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    fn queue_message_label(&self, function: &str, message: &Message) -> InvocationKind {
        let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
        let (name, case) = match (function, body["kind"].as_str().unwrap_or_default()) {
            ("dispatcher", "drain") => ("drain", None),
            ("dispatcher", "task" | "ack_deadline") => ("timer", None),
            ("dispatcher", _) => ("deadline", None),
            ("notifier", "refresh") => {
                let new = lock(&self.shown).insert(body["taskId"].to_string());
                ("refresh", Some(if new { "posted" } else { "updated" }))
            }
            ("notifier", _) => ("notice", None),
            _ => ("bulk work", None),
        };
        InvocationKind::new(name, case)
    }

    async fn invoke(&self, name: &str, event: Value, labels: &[InvocationKind]) -> Result<Value> {
        let [kind] = labels else {
            bail!("{name} is invoked with a message at a time");
        };
        let idle = lock(&self.environments).remove(name);
        let mut environment = match idle {
            Some(environment) => environment,
            None => self.start_environment(name).await?,
        };
        let bytes = event["body"].as_str().map_or(0, str::len);
        let by_header = event["requestContext"]["authorizer"]["agentId"].is_string();
        let fifo_source = is_fifo_source(&event);
        let mut is_warm = environment.invocations >= WARM_UP_INVOCATIONS;
        let chain = self.chain_of(&event);
        let answer = environment.invoke(event).await?;
        let calls = self.server.take_calls();
        if let Some(fault) = calls.iter().find_map(Call::unexpected_error) {
            bail!("{name} called what it should not at {kind}: {fault}");
        }
        self.record_chain(chain, &calls);
        for call in &calls {
            is_warm &= !environment.called.insert(call.service);
            environment.sent.extend(call.message_ids.iter().cloned());
        }
        lock(&self.environments).insert(name.to_owned(), environment);
        let is_conflict = calls.iter().any(Call::is_refused_write);
        let case = kind.case.or(if is_conflict {
            VERSION_CONFLICT_CASE
        } else {
            None
        });
        lock(&self.log).push(Invocation {
            function: name.to_owned(),
            kind: InvocationKind::new(&kind.name, case),
            is_warm,
            warm: answer.worked,
            wall: time_outside_calls(answer.handed_out, answer.answered, &calls),
            calls,
            memory: self.cloud.function(name)?.memory,
            bytes,
            fifo_source,
            by_header,
        });
        match answer.outcome {
            Ok(value) => Ok(value),
            Err(error) => bail!("{name} failed at {kind}: {error}"),
        }
    }
}
