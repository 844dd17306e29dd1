//! The stage: the real binaries, an environment of each function at a time, on an AWS of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic_protocol::ids::{Ids as _, RandomIds};
use bematic_protocol::time::{Clock as _, SystemClock};
use fake_aws::{FakeAws, Message};
use local_slack::Slack;
use serde_json::Value;

use crate::aws::Server;
use crate::common::lock;
use crate::driver::{Driver, Functions, MESSAGES};
use crate::environment::Environment;
use crate::events;
use crate::log::{Call, Invocation, Kind, outside};
use crate::template::{Function, Template};

/// The notifier's queue.
const NOTIFICATIONS: &str = "NotificationsQueue";
/// Longer than an invocation of a warm environment takes here, in milliseconds.
const HANDLED_WITHIN: u64 = 500;
/// The case of an invocation whose environment remembered something as it is no longer: a write was
/// refused, and it read and decided anew.
pub(crate) const CONFLICT: &str = "version conflict";

/// Which messages of the queues are to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deliver {
    /// Those whose time has come.
    Due,
    /// Those that come without a delay of their sender's, without waiting.
    Now,
    /// All, without waiting.
    All,
}

/// The queues' time: the functions', and what was not waited for.
#[derive(Debug, Default)]
struct QueueTime {
    skipped: AtomicU64,
}

impl QueueTime {
    /// Unix milliseconds.
    fn now(&self) -> u64 {
        SystemClock.now().as_millis() + self.skipped.load(Ordering::Relaxed)
    }

    fn skip_to(&self, due: u64) {
        let ahead = due.saturating_sub(self.now());
        self.skipped.fetch_add(ahead, Ordering::Relaxed);
    }
}

/// The binaries of the functions.
pub(crate) struct Binaries {
    server: Server,
    functions: BTreeMap<String, Function>,
    paths: BTreeMap<String, PathBuf>,
    logs: PathBuf,
    environments: Mutex<BTreeMap<String, Environment>>,
    log: Mutex<Vec<Invocation>>,
    /// Tasks that Slack shows.
    shown: Mutex<BTreeSet<String>>,
}

impl Binaries {
    fn function(&self, name: &str) -> Result<&Function> {
        let function = self.functions.get(name);
        function.with_context(|| format!("the template has no function {name}"))
    }

    async fn start(&self, name: &str) -> Result<Environment> {
        let binary = self.paths.get(name);
        let binary = binary.with_context(|| format!("{name} was not built"))?;
        let log = self.logs.join(format!("{name}.log"));
        Environment::start(binary, self.function(name)?, &self.server.url, log).await
    }
}

impl Functions for Binaries {
    type Label = Kind;

    fn label(&self, function: &str, message: &Message) -> Kind {
        let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
        match (function, body["kind"].as_str().unwrap_or_default()) {
            ("dispatcher", "drain") => Kind::of("drain"),
            ("dispatcher", "task" | "ack_deadline") => Kind::of("timer"),
            ("dispatcher", _) => Kind::of("deadline"),
            ("notifier", "refresh") => {
                let new = lock(&self.shown).insert(body["taskId"].to_string());
                Kind::when("refresh", if new { "posted" } else { "updated" })
            }
            ("notifier", _) => Kind::of("notice"),
            _ => Kind::of("bulk work"),
        }
    }

    async fn invoke(&self, name: &str, event: Value, labels: &[Kind]) -> Result<Value> {
        let [mut kind] = *labels else {
            bail!("{name} is invoked with a message at a time");
        };
        let idle = lock(&self.environments).remove(name);
        let mut environment = match idle {
            Some(environment) => environment,
            None => self.start(name).await?,
        };
        let earlier = environment.invocations;
        let bytes = event["body"].as_str().map_or(0, str::len);
        let agent = &event["requestContext"]["authorizer"]["agentId"];
        let by_header = agent.is_string();
        let source = events::is_of_fifo(&event);
        let answer = environment.invoke(event).await?;
        let calls = self.server.take_calls();
        if let Some(fault) = calls.iter().find_map(Call::fault) {
            bail!("{name} called what it should not at {}: {fault}", kind.name);
        }
        let mut is_first_call = false;
        for call in &calls {
            is_first_call |= environment.called.insert(call.service);
        }
        lock(&self.environments).insert(name.to_owned(), environment);
        if kind.case.is_none() && calls.iter().any(Call::is_refused) {
            kind.case = Some(CONFLICT);
        }
        lock(&self.log).push(Invocation {
            function: name.to_owned(),
            kind,
            earlier,
            is_first_call,
            warm: answer.worked,
            wall: outside(answer.handed, answer.answered, &calls),
            calls,
            memory: self.function(name)?.memory,
            bytes,
            source,
            by_header,
        });
        match answer.outcome {
            Ok(value) => Ok(value),
            Err(error) => bail!("{name} failed at {}: {error}", kind.name),
        }
    }
}

/// The stage.
pub(crate) struct Stage {
    pub(crate) driver: Driver<Binaries>,
    time: Arc<QueueTime>,
    posted: Vec<(String, Value)>,
    /// Messages to the notifier that the present environment of [`MESSAGES`] has sent.
    told: BTreeSet<String>,
    /// The other environment of [`MESSAGES`], once there is one, and what it has sent.
    other: (Option<Environment>, BTreeSet<String>),
    pub(crate) ids: RandomIds,
}

impl Stage {
    /// With binaries by function; their output goes to `logs`.
    pub(crate) async fn new(
        template: &Template,
        paths: BTreeMap<String, PathBuf>,
        logs: PathBuf,
    ) -> Result<Self> {
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let time = Arc::new(QueueTime::default());
        let clock = time.clone();
        let aws = FakeAws::new(&template.aws, Arc::new(move || clock.now()));
        aws.meter(true);
        aws.calls().keep(false);
        let server = Server::start(aws.clone()).await?;
        let mut functions = template.functions(&aws, &server.url)?;
        functions.push(Function {
            name: crate::common::FLOOR.into(),
            memory: 256,
            timeout: Duration::from_secs(15),
            variables: BTreeMap::new(),
            source: None,
        });
        let by_name = functions.iter().map(|it| (it.name.clone(), it.clone()));
        let binaries = Binaries {
            server,
            functions: by_name.collect(),
            paths,
            logs,
            environments: Mutex::default(),
            log: Mutex::default(),
            shown: Mutex::default(),
        };
        Ok(Self {
            driver: Driver::new(aws, binaries, &functions, Arc::new(SystemClock)),
            time,
            posted: Vec::new(),
            told: BTreeSet::new(),
            other: (None, BTreeSet::new()),
            ids: RandomIds,
        })
    }

    /// Returns the local Slack that the functions call.
    pub(crate) fn slack(&self) -> &Slack {
        &self.driver.functions.server.slack
    }

    /// All invocations until now.
    pub(crate) fn log(&self) -> MutexGuard<'_, Vec<Invocation>> {
        lock(&self.driver.functions.log)
    }

    fn environments(&self) -> MutexGuard<'_, BTreeMap<String, Environment>> {
        lock(&self.driver.functions.environments)
    }

    /// Starts a new environment of a function, which is not the one that is invoked.
    pub(crate) async fn start(&self, name: &str) -> Result<Environment> {
        self.driver.functions.start(name).await
    }

    /// Has agents' messages handled by the other of two environments from now on.
    pub(crate) fn change_environment(&mut self) {
        let present = self.environments().remove(MESSAGES);
        let told = std::mem::take(&mut self.told);
        let (next, told) = std::mem::replace(&mut self.other, (present, told));
        self.told = told;
        if let Some(next) = next {
            self.environments().insert(MESSAGES.to_owned(), next);
        }
    }

    /// The most memory that a function's environment has had.
    pub(crate) fn peak_kb(&self, name: &str) -> Option<Result<u64>> {
        self.environments().get(name).map(Environment::peak_kb)
    }

    /// Bytes of log lines of all environments.
    pub(crate) fn logged(&self) -> u64 {
        self.environments().values().map(Environment::logged).sum()
    }

    /// Notes which messages to the notifier are of the invocation just made.
    pub(crate) fn note_told(&mut self, before: &BTreeSet<String>) {
        let waiting = self.refreshes();
        self.told.extend(waiting.difference(before).cloned());
    }

    /// The messages that wait for the notifier.
    pub(crate) fn refreshes(&self) -> BTreeSet<String> {
        let waiting = self.driver.aws.queue(NOTIFICATIONS).peek();
        waiting.into_iter().map(|message| message.id).collect()
    }

    /// Whether the present environment of [`MESSAGES`] has told the notifier of the task, and the
    /// notifier will not hear it before the environment has handled another message.
    pub(crate) fn is_under_way(&self, task: &str) -> bool {
        let handled = self.time.now() + HANDLED_WITHIN;
        let waiting = self.driver.aws.queue(NOTIFICATIONS).peek().into_iter();
        let waiting = waiting.filter(|message| message.due > handled);
        let mut of_task = waiting.filter(|message| message.group.as_deref() == Some(task));
        of_task.any(|message| self.told.contains(&message.id))
    }

    /// Invokes the functions with what waits for them in their queues, each message by itself,
    /// and with what comes of that.
    pub(crate) async fn deliver(&mut self, which: Deliver) -> Result<()> {
        loop {
            self.driver.deliver().await?;
            let waiting = self.driver.waiting().filter(|message| match which {
                Deliver::Due => false,
                Deliver::Now => !message.delayed,
                Deliver::All => true,
            });
            let Some(due) = waiting.map(|message| message.due).min() else {
                return Ok(());
            };
            self.time.skip_to(due);
        }
    }

    /// How long until the next message can be received.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let due = self.driver.waiting().map(|message| message.due).min();
        due.map(|due| Duration::from_millis(due.saturating_sub(self.time.now())))
    }

    /// What was posted to a connection since this was asked for last.
    pub(crate) fn take_posted(&mut self, connection: &str) -> Vec<Value> {
        let posts = self.driver.aws.connections().take_posts().into_iter();
        let posts = posts.map(|(to, body)| (to, serde_json::from_slice(&body).unwrap_or_default()));
        self.posted.extend(posts);
        let all = std::mem::take(&mut self.posted).into_iter();
        let (own, other) = all.partition(|(to, _)| to == connection);
        self.posted = other;
        let own: Vec<(String, Value)> = own;
        own.into_iter().map(|(_, message)| message).collect()
    }

    /// A fresh id.
    pub(crate) fn id(&self) -> String {
        self.ids.message().to_string()
    }
}
