//! All that is around the functions: an AWS, a Slack, a clock; and what agents and operators do.

mod agents;
mod calls;
mod fixed;
mod functions;
mod operators;
mod out;
mod slack;
mod store;

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bematic::{
    agent::{Agent, ApiKey, Project, Route},
    breaker::{BreakerConfig, BreakerEvent, FailureKind},
    ports::{BreakerChange, DispatchMessage, Ports, Written},
    task::{FLUSH_INTERVAL, Origin, Task, TaskPolicy},
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    time::{Clock, Timestamp},
};
use fake_aws::{FakeAws, Template};
use uuid::Uuid;

pub(crate) use self::{
    agents::{event, wire},
    calls::Calls,
    functions::{SECRET, queue_id},
    operators::{execute, states, try_obey},
    slack::Slack,
};
use self::{calls::ToAws, fixed::Fixed, functions::app, out::Out, store::Store};

/// The agent that every world has.
pub(crate) const AGENT: &str = "box";
/// The channel whose project it runs.
pub(crate) const CHANNEL: &str = "C1";
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
    /// The production adapters, for what a test sets up or looks at: their calls are not counted, and do
    /// not fail.
    pub(crate) unobserved: Arc<Ports>,
    ports: Arc<Ports>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let time = Arc::new(Fixed::new());
        let clock = time.clone();
        let aws = FakeAws::new(template(), Arc::new(move || clock.now().as_millis()));
        let calls = Arc::new(Calls::default());
        aws.calls().keep(false);
        aws.hook(ToAws(calls.clone()));
        let unobserved = app(&aws.unobserved(), &time, &[]).ports();
        let world = Self {
            store: Store {
                aws: aws.clone(),
                ports: unobserved.clone(),
            },
            out: Out::new(aws.clone()),
            slack: Slack::new(calls.clone(), time.clone()),
            key: ApiKey::from_random([7; 32]),
            ports: app(&aws, &time, &[]).ports(),
            unobserved,
            aws,
            calls,
            time,
        };
        world.add_agent(AGENT).await;
        let (agent, hash, now) = (agent_id(), world.key.hash(), world.time.now());
        let key = world.unobserved.agents.add_key(&agent, &hash, now);
        key.await.unwrap();
        world.set_project(&world.project()).await;
        world
    }

    pub(crate) async fn add_agent(&self, name: &str) {
        let agent = Agent::new(name.parse().unwrap(), self.time.now());
        self.unobserved.agents.create(&agent).await.unwrap();
    }

    /// The channel's project, as every world has it at first.
    pub(crate) fn project(&self) -> Project {
        project(self.time.now())
    }

    pub(crate) async fn set_project(&self, project: &Project) {
        self.unobserved.projects.put(project).await.unwrap();
    }

    /// The channel's tasks may go to these agents from now on.
    pub(crate) async fn set_route(&self, route: &str) {
        let route = route.parse().unwrap();
        let project = Project {
            route,
            ..self.project()
        };
        self.set_project(&project).await;
    }

    /// The agent fails until its breaker opens.
    pub(crate) async fn open_breaker(&self, agent: &str) {
        let (agent, now) = (agent.parse().unwrap(), self.time.now());
        let before = self.store.breaker_of(&agent);
        let mut after = before.clone();
        for n in 0..10 {
            let (id, config) = (format!("failed#{n}"), BreakerConfig::default());
            let failed = BreakerEvent::Failure(id, FailureKind::Error, "broken".into());
            after = after.after(failed, &config, now).next;
        }
        let turn = BreakerChange {
            before: &before,
            after: &after,
        };
        let written = self.unobserved.breakers.change(&agent, turn).await;
        assert_eq!(written.unwrap(), Written::Done);
        assert!(!self.store.agent(&agent).unwrap().gate.is_open(now));
    }

    /// Works off the dispatcher's queue until nothing in it is due.
    pub(crate) async fn dispatch_all(&self) {
        while let Some(message) = self.next_dispatched() {
            self.dispatcher().handle(message).await.unwrap();
        }
    }

    /// The next message of the dispatcher's queue that is due.
    pub(crate) fn next_dispatched(&self) -> Option<DispatchMessage> {
        self.out.next_dispatched()
    }

    /// The dispatcher's queue loses all that is in it.
    pub(crate) fn lose_dispatched(&self) {
        self.out.lose_dispatched();
    }

    /// Time passes, with what is due in it: the dispatcher's queue, and the sweeper every minute.
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

    /// Works off the queue of bulk work.
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

    /// Shows all that is to be shown, and does not wait for the queue's 3 s.
    pub(crate) async fn notify_all(&self) {
        // As long as the queue delays them: what is enqueued later is of another flush interval.
        self.time.pass(FLUSH_INTERVAL);
        for message in self.out.take_notified() {
            self.notifier().handle(message).await.unwrap();
        }
    }

    /// A task that the agent has on connection `c`, sent but not acknowledged.
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

/// A task that waits for this agent since the beginning of time.
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

/// What comes of something that has nothing to wait for: a call that is not observed.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(tokio::task::unconstrained(future));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
    panic!("it waits for something")
}
