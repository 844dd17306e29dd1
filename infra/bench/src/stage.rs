//! The stage: AWS, an environment of each function, and what the bench does in the place of API
//! Gateway, SQS and Slack: it invokes one function at a time, with what comes of the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic_protocol::ids::{Ids as _, RandomIds};
use serde_json::Value;
use tokio::time::Instant;

use crate::aws::queues::{Message, Queues};
use crate::aws::{self, Aws, Posted};
use crate::environment::Environment;
use crate::events;
use crate::log::{Invocation, Kind, outside};
use crate::template::{Function, Template};

/// What every request of Slack's is signed with.
pub(crate) const SECRET: &str = "bench-signing-secret";
/// The function of agents' messages.
pub(crate) const MESSAGES: &str = "ws-message";
/// The function of their heartbeats.
pub(crate) const HEARTBEATS: &str = "ws-heartbeat";
/// The notifier's queue.
const NOTIFICATIONS: &str = "NotificationsQueue";

/// Which messages of the queues are to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deliver {
    /// Those whose time has come.
    Due,
    /// All but those that their sender delayed, without waiting.
    Now,
    /// All, without waiting.
    All,
}

impl Deliver {
    fn receive(self, queues: &mut Queues, queue: &str) -> Option<Message> {
        match self {
            Self::Due => queues.receive(queue, Some(Instant::now()), |_| true),
            Self::Now => queues.receive(queue, None, |message| !message.timer),
            Self::All => queues.receive(queue, None, |_| true),
        }
    }
}

/// An event that is about to be handed out.
pub(crate) struct Cue {
    pub(crate) function: &'static str,
    pub(crate) kind: Kind,
    pub(crate) event: Value,
    /// Bytes of the message that it carries.
    pub(crate) bytes: usize,
    /// Whether it came over a connection that was authenticated in its handshake.
    pub(crate) by_header: bool,
}

impl Cue {
    pub(crate) fn new(function: &'static str, kind: Kind, event: Value) -> Self {
        Self {
            function,
            kind,
            event,
            bytes: 0,
            by_header: true,
        }
    }
}

/// Longer than an invocation of a warm environment takes here.
const HANDLED_WITHIN: Duration = Duration::from_millis(500);

/// The stage.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) aws: Aws,
    functions: BTreeMap<String, Function>,
    binaries: BTreeMap<String, PathBuf>,
    environments: BTreeMap<String, Environment>,
    logs: PathBuf,
    /// All invocations until now.
    pub(crate) log: Vec<Invocation>,
    posted: Vec<Posted>,
    /// Messages to the notifier that the present environment of [`MESSAGES`] has sent.
    told: BTreeSet<String>,
    /// Tasks that Slack shows.
    shown: BTreeSet<String>,
    pub(crate) ids: RandomIds,
}

impl Stage {
    /// With binaries by function; their output goes to `logs`.
    pub(crate) async fn new(
        template: &Template,
        binaries: BTreeMap<String, PathBuf>,
        logs: PathBuf,
    ) -> Result<Self> {
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let aws = Aws::start(template).await?;
        let values = aws::values(&aws.url(), SECRET, template)?;
        let functions = template.functions(&values)?;
        let floor = Function {
            name: crate::FLOOR.into(),
            memory: 256,
            timeout: Duration::from_secs(15),
            variables: BTreeMap::new(),
            source: None,
        };
        let functions = functions.into_iter().chain([floor]);
        Ok(Self {
            aws,
            functions: functions.map(|it| (it.name.clone(), it)).collect(),
            binaries,
            environments: BTreeMap::new(),
            logs,
            log: Vec::new(),
            posted: Vec::new(),
            told: BTreeSet::new(),
            shown: BTreeSet::new(),
            ids: RandomIds,
        })
    }

    /// A function as it is deployed.
    pub(crate) fn function(&self, name: &str) -> Result<&Function> {
        let function = self.functions.get(name);
        function.with_context(|| format!("the template has no function {name}"))
    }

    /// Starts a new environment of a function, which is not the one that is invoked.
    pub(crate) async fn start(&self, name: &str) -> Result<Environment> {
        let binary = self.binaries.get(name);
        let binary = binary.with_context(|| format!("{name} was not built"))?;
        let log = self.logs.join(format!("{name}.log"));
        Environment::start(binary, self.function(name)?, &self.aws.url(), log).await
    }

    /// Ends a function's environment: the next invocation begins another.
    pub(crate) fn renew(&mut self, name: &str) {
        self.environments.remove(name);
        if name == MESSAGES {
            self.told.clear();
        }
    }

    /// The most memory that a function's environment has had.
    pub(crate) fn peak_kb(&self, name: &str) -> Option<Result<u64>> {
        self.environments.get(name).map(Environment::peak_kb)
    }

    /// Bytes of log lines of all environments.
    pub(crate) fn logged(&self) -> u64 {
        self.environments.values().map(Environment::logged).sum()
    }

    /// Invokes a function and gives back what it answers.
    pub(crate) async fn invoke(&mut self, cue: Cue) -> Result<Value> {
        let name = cue.function;
        if !self.environments.contains_key(name) {
            let environment = self.start(name).await?;
            self.environments.insert(name.to_owned(), environment);
        }
        let (memory, source) = {
            let function = self.function(name)?;
            let source = function.source.as_ref();
            let fifo = source.map(|source| source.queue == NOTIFICATIONS);
            (function.memory, fifo)
        };
        let Some(environment) = self.environments.get_mut(name) else {
            bail!("{name} is not there");
        };
        let earlier = environment.invocations;
        let answer = environment.invoke(cue.event).await?;
        let calls = self.aws.take_calls()?;
        let mut is_first_call = false;
        for call in &calls {
            is_first_call |= environment.called.insert(call.service);
        }
        self.posted.extend(self.aws.take_posted());
        self.log.push(Invocation {
            function: name.to_owned(),
            kind: cue.kind,
            earlier,
            is_first_call,
            warm: answer.worked,
            wall: outside(answer.handed, answer.answered, &calls),
            calls,
            memory,
            bytes: cue.bytes,
            source,
            by_header: cue.by_header,
        });
        match answer.outcome {
            Ok(value) => Ok(value),
            Err(error) => bail!("{name} failed at {}: {error}", cue.kind.name),
        }
    }

    /// Notes which messages to the notifier are of the invocation just made.
    pub(crate) fn note_told(&mut self, before: &BTreeSet<String>) {
        let waiting = self.refreshes();
        self.told.extend(waiting.difference(before).cloned());
    }

    /// The messages that wait for the notifier.
    pub(crate) fn refreshes(&self) -> BTreeSet<String> {
        let state = self.aws.state();
        let waiting = state.queues.waiting(NOTIFICATIONS);
        waiting.map(|message| message.id.clone()).collect()
    }

    /// Whether the present environment of [`MESSAGES`] has told the notifier of the task, and the
    /// notifier will not hear it before the environment has handled another message.
    pub(crate) fn is_under_way(&self, task: &str) -> bool {
        let handled = Instant::now() + HANDLED_WITHIN;
        let state = self.aws.state();
        let waiting = state.queues.waiting(NOTIFICATIONS);
        let waiting = waiting.filter(|message| message.due > handled);
        let mut of_task = waiting.filter(|message| message.group.as_deref() == Some(task));
        of_task.any(|message| self.told.contains(&message.id))
    }

    /// Invokes the functions with what waits for them in their queues, each message by itself,
    /// and with what comes of that.
    pub(crate) async fn deliver(&mut self, which: Deliver) -> Result<()> {
        let fed: Vec<(&'static str, String)> = ["dispatcher", "notifier", "batch"]
            .into_iter()
            .filter_map(|name| Some((name, self.functions.get(name)?.source.clone()?.queue)))
            .collect();
        loop {
            let next = fed.iter().find_map(|(name, queue)| {
                let queues = &mut self.aws.state().queues;
                let message = which.receive(queues, queue)?;
                Some((*name, queue.clone(), message))
            });
            let Some((name, queue, message)) = next else {
                return Ok(());
            };
            let kind = self.kind(name, &message);
            let event = events::queue_event(&queue, &message);
            let answer = self.invoke(Cue::new(name, kind, event)).await?;
            let failed = answer["batchItemFailures"].as_array();
            if failed.is_some_and(|failed| !failed.is_empty()) {
                bail!("{name} gave {} back; its output says why", message.body);
            }
        }
    }

    /// When the next message can be received.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let state = self.aws.state();
        let fed = self.functions.values().filter_map(|it| it.source.as_ref());
        let waiting = fed.flat_map(|source| state.queues.waiting(&source.queue));
        waiting.map(|message| message.due).min()
    }

    fn kind(&mut self, function: &str, message: &Message) -> Kind {
        let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
        match (function, body["kind"].as_str().unwrap_or_default()) {
            ("dispatcher", "drain") => Kind::of("drain"),
            ("dispatcher", "task" | "ack_deadline") => Kind::of("timer"),
            ("dispatcher", _) => Kind::of("deadline"),
            ("notifier", "refresh") => {
                let new = self.shown.insert(body["taskId"].to_string());
                Kind::when("refresh", if new { "posted" } else { "updated" })
            }
            ("notifier", _) => Kind::of("notice"),
            _ => Kind::of("bulk work"),
        }
    }

    /// What was posted to a connection since this was asked for last.
    pub(crate) fn take_posted(&mut self, connection: &str) -> Vec<Value> {
        let (own, other) = std::mem::take(&mut self.posted)
            .into_iter()
            .partition(|posted| posted.connection == connection);
        self.posted = other;
        let own: Vec<Posted> = own;
        own.into_iter().map(|posted| posted.message).collect()
    }

    /// A fresh id.
    pub(crate) fn id(&self) -> String {
        self.ids.message().to_string()
    }
}
