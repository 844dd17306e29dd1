//! The surroundings of the functions: AWS, Slack, a clock, agents and operators.

mod agents;
mod calls;
mod fixed;
mod functions;
mod operators;
mod out;
mod permissions;
mod slack;
mod store;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bematic::{
    access::{CheckedMembership, Membership},
    agent::{Agent, ApiKey, Project, Route},
    breaker::{BreakerConfig, BreakerEvent, FailureKind},
    ports::{BreakerChange, DispatchMessage, Ports, Written},
    task::{FLUSH_INTERVAL, Origin, Task, TaskPolicy},
};
use bematic_aws::store::KeyStore;
use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    time::{Clock, Timestamp},
};
use fake_aws::{FakeAws, Template};
use uuid::Uuid;

pub(crate) use self::{
    agents::{event, wire},
    calls::Calls,
    functions::{
        DISPATCHER, NOTIFIER, SECRET, SIGNING_SECRET, SLACK_WEBHOOK, WS_AUTHORIZER, WS_CONNECT,
        WS_MESSAGE, queue_id,
    },
    operators::{actor, execute, states, try_execute},
    permissions::{RECORD_VARIABLE, Recorder},
    slack::{Slack, person},
};
use self::{
    calls::ToAws,
    fixed::Fixed,
    functions::{BOT_TOKEN, app},
    out::Out,
    slack::TOKEN,
    store::Store,
};

/// The agent that every world has.
pub(crate) const AGENT: &str = "box";
/// The channel of the agent's project.
pub(crate) const CHANNEL: &str = "C1";
/// People who are no first admins, and of whom Slack has said lately that they are full members.
const CHECKED_PEOPLE: [&str; 3] = ["U7", "U8", "U9"];
/// The operations channel.
pub(crate) const OPERATIONS: &str = "COPS";

pub(crate) fn agent_id() -> AgentId {
    AGENT.parse().unwrap()
}

pub(crate) fn connection(name: &str) -> ConnectionId {
    name.parse().unwrap()
}

/// A team with one agent and one channel.
pub(crate) struct World {
    pub(crate) aws: FakeAws,
    pub(crate) calls: Arc<Calls>,
    pub(crate) store: Store,
    pub(crate) out: Out,
    pub(crate) slack: Slack,
    pub(crate) time: Arc<Fixed>,
    pub(crate) key: ApiKey,
    /// The production adapters for set-ups and inspection: their calls are not counted, and do not fail.
    pub(crate) unobserved: Arc<Ports>,
    /// The ports of each function.
    ports: Mutex<BTreeMap<&'static str, Arc<Ports>>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let time = Arc::new(Fixed::new());
        let clock = time.clone();
        let aws = FakeAws::new(template(), Arc::new(move || clock.now().as_millis()));
        let calls = Arc::new(Calls::default());
        aws.calls().set_recording(false);
        aws.add_hook(Recorder);
        aws.add_hook(ToAws(calls.clone()));
        for (arn, secret) in [(SIGNING_SECRET, SECRET), (BOT_TOKEN, TOKEN)] {
            aws.secrets().put(arn, secret, 0);
        }
        let unobserved_app = app(&aws.unobserved(), &time, &[]);
        let unobserved = unobserved_app.ports();
        let bot_token = unobserved_app.bot_token().unwrap();
        let world = Self {
            store: Store {
                keys: KeyStore::new(
                    aws_sdk_dynamodb::Client::new(&aws.unobserved().sdk_config()),
                    Some(store::KEYS.to_owned()),
                    store::AGENTS.to_owned(),
                ),
                aws: aws.clone(),
                ports: unobserved.clone(),
            },
            out: Out::new(aws.clone()),
            slack: Slack::new(calls.clone(), time.clone(), bot_token),
            key: ApiKey::from_random([7; 32]),
            ports: Mutex::default(),
            unobserved,
            aws,
            calls,
            time,
        };
        for user in CHECKED_PEOPLE {
            world.check_membership(user, Membership::Full).await;
        }
        world.add_agent(AGENT).await;
        world.add_key(AGENT, &world.key).await;
        world.set_project(&world.project()).await;
        world
    }

    pub(crate) async fn add_agent(&self, name: &str) {
        let agent = Agent::new(name.parse().unwrap(), self.time.now());
        self.unobserved.agents.create(&agent).await.unwrap();
    }

    /// Stores what Slack has said of a person just now.
    pub(crate) async fn check_membership(&self, user: &str, membership: Membership) {
        let checked = CheckedMembership {
            user_id: user.parse().unwrap(),
            membership,
            checked_at: self.time.now(),
        };
        self.unobserved.memberships.put(&checked).await.unwrap();
    }

    /// Gives an agent a key, as the administration command does.
    pub(crate) async fn add_key(&self, agent: &str, key: &ApiKey) {
        let (agent, now) = (agent.parse().unwrap(), self.time.now());
        let added = self.store.keys.add(&agent, &key.hash(), now).await;
        assert!(added.unwrap());
    }

    /// Revokes keys of the agent, as the administration command does: one, or all. Returns the
    /// connection that has to be closed.
    pub(crate) async fn revoke(&self, key: Option<&ApiKey>) -> Option<ConnectionId> {
        let mut keys = self.store.keys.list(&agent_id()).await.unwrap();
        if let Some(key) = key {
            keys.retain(|it| it.hash == key.hash());
        }
        let (agent, all, now) = (agent_id(), key.is_none(), self.time.now());
        let revoked = self.store.keys.revoke(&agent, &keys, all, now);
        revoked.await.unwrap().unwrap().unbound
    }

    /// Returns the channel's project as it is at first.
    pub(crate) fn project(&self) -> Project {
        project(self.time.now())
    }

    pub(crate) async fn set_project(&self, project: &Project) {
        self.unobserved.projects.put(project).await.unwrap();
    }

    /// Sets the agents to which the channel's tasks may go.
    pub(crate) async fn set_route(&self, route: &str) {
        let route = route.parse().unwrap();
        let project = Project {
            route,
            ..self.project()
        };
        self.set_project(&project).await;
    }

    /// Records failures of the agent until its breaker opens.
    pub(crate) async fn open_breaker(&self, agent: &str) {
        let (agent, now) = (agent.parse().unwrap(), self.time.now());
        let before = self.store.breaker_of(&agent);
        let mut after = before.clone();
        for n in 0..10 {
            let (id, config) = (format!("failed#{n}"), BreakerConfig::default());
            let failed = BreakerEvent::Failure(id, FailureKind::Error, "broken".into());
            after = after.after(failed, &config, now).next;
        }
        let change = BreakerChange {
            before: &before,
            after: &after,
        };
        let written = self.unobserved.breakers.change(&agent, change).await;
        assert_eq!(written.unwrap(), Written::Done);
        assert!(!self.store.agent(&agent).unwrap().gate.is_open(now));
    }

    /// Handles the messages of the dispatcher's queue until none is due.
    pub(crate) async fn dispatch_all(&self) {
        while let Some(message) = self.next_dispatched() {
            self.dispatcher().handle(message).await.unwrap();
        }
    }

    /// Receives the next message of the dispatcher's queue that is due.
    pub(crate) fn next_dispatched(&self) -> Option<DispatchMessage> {
        self.out.next_dispatched()
    }

    /// Purges the dispatcher's queue.
    pub(crate) fn lose_dispatched(&self) {
        self.out.lose_dispatched();
    }

    /// Lets time pass: the dispatcher handles its queue every second, the sweeper runs every minute.
    pub(crate) async fn pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_secs(1);
        let until = self.time.now() + time;
        while self.time.now() < until {
            self.time.pass(STEP);
            if self.time.now().as_secs().is_multiple_of(60) {
                self.sweeper().sweep().await.unwrap();
            }
            self.dispatch_all().await;
        }
    }

    pub(crate) async fn dispatch_queue(&self) {
        self.dispatcher()
            .handle(DispatchMessage::agent_queue(agent_id()))
            .await
            .unwrap();
    }

    /// Handles the messages of the queue of bulk operations until there are none.
    pub(crate) async fn work_on_batches(&self) {
        loop {
            let waiting = self.out.take_batches();
            if waiting.is_empty() {
                return;
            }
            for message in waiting {
                self.batch_worker().handle(message).await.unwrap();
            }
        }
    }

    /// Handles the messages of the notifier's queue, and does not wait for the queue's delay.
    pub(crate) async fn notify_all(&self) {
        // The queue's delay: a later refresh belongs to another flush interval.
        self.time.pass(FLUSH_INTERVAL);
        for message in self.out.take_notified() {
            self.notifier().handle(message).await.unwrap();
        }
    }

    /// Dispatches a task to the agent over connection `c`, which does not acknowledge it.
    pub(crate) async fn dispatched(&self) -> Task {
        self.connect("c").await;
        let task = self.run("fix it", "r").await;
        self.dispatch_all().await;
        self.out.take_sent();
        self.calls.take();
        self.store.task(task.id).unwrap()
    }
}

fn origin() -> Origin {
    Origin {
        channel_id: CHANNEL.parse().unwrap(),
        thread_ts: None,
        user_id: "U1".parse().unwrap(),
    }
}

/// Returns a task that has waited for this agent since the Unix epoch.
pub(crate) fn new_task(agent: &str) -> Task {
    let start = Timestamp::from_millis(0);
    let (id, spec) = (
        TaskId::new(Uuid::max()),
        project(start).spec("do it".into()),
    );
    let agent = agent.parse().unwrap();
    Task::new(id, agent, &spec, origin(), &TaskPolicy::default(), start)
}

fn project(now: Timestamp) -> Project {
    Project {
        channel_id: CHANNEL.parse().unwrap(),
        project_id: "web".into(),
        route: Route::One(agent_id()),
        local_path: "/srv/web".into(),
        model: "default".into(),
        max_budget: 5.0,
        bot_name: "Bematic".into(),
        system_prompt: String::new(),
        allowed_tools: vec![],
        lease_secs: None,
        external_users: false,
        created_at: now,
    }
}

/// The deployment's template.
fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml"));
        Template::parse(text).unwrap()
    })
}

/// Returns the result of a future that is never pending, such as an unobserved call.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(tokio::task::unconstrained(future));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
    panic!("the future is pending")
}
