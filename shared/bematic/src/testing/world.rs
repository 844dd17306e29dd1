//! All functions around one store in memory: what a test says and sees is what a user would.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    time::{Clock, Timestamp},
};
use uuid::Uuid;

use super::{Calls, Memory, Outbox, fixed::Fixed};
use crate::{
    agent::{Agent, ApiKey, Project, Route},
    breaker::{BreakerConfig, BreakerEvent, FailureKind},
    handlers::webhook::Operator,
    ports::{Agents, Breakers, DispatchMessage, Projects, Turn, Written},
    task::{Origin, Priority, Task, TaskPolicy},
};

/// The agent that every world has.
pub(crate) const AGENT: &str = "box";
/// The channel whose project it runs.
pub(crate) const CHANNEL: &str = "C1";

pub(crate) fn agent_id() -> AgentId {
    AGENT.parse().unwrap()
}

pub(crate) fn connection(name: &str) -> ConnectionId {
    name.parse().unwrap()
}

/// A team with one agent and one channel.
pub(crate) struct World {
    pub(crate) calls: Arc<Calls>,
    pub(crate) store: Arc<Memory>,
    pub(crate) out: Arc<Outbox>,
    pub(crate) time: Arc<Fixed>,
    waiting: Mutex<Vec<(Timestamp, DispatchMessage)>>,
    pub(crate) key: ApiKey,
}

impl World {
    pub(crate) async fn new() -> Self {
        let calls = Arc::new(Calls::default());
        let world = Self {
            store: Arc::new(Memory::new(calls.clone())),
            out: Arc::new(Outbox::new(calls.clone())),
            time: Arc::new(Fixed::new()),
            waiting: Mutex::default(),
            key: ApiKey::from_random([7; 32]),
            calls,
        };
        world.add_agent(AGENT).await;
        world
            .store
            .add_key(&agent_id(), &world.key.hash(), world.time.now())
            .await
            .unwrap();
        world.store.put(&project(world.time.now())).await.unwrap();
        world.calls.take();
        world
    }

    pub(crate) async fn add_agent(&self, name: &str) {
        let agent = Agent::new(name.parse().unwrap(), self.time.now());
        self.store.create(&agent).await.unwrap();
    }

    /// The channel's project, as every world has it at first.
    pub(crate) fn project(&self) -> Project {
        project(self.time.now())
    }

    pub(crate) async fn set_project(&self, project: &Project) {
        self.store.put(project).await.unwrap();
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
        let turn = Turn {
            before: &before,
            after: &after,
        };
        assert_eq!(self.store.turn(&agent, turn).await.unwrap(), Written::Done);
        assert!(!self.store.agent(&agent).unwrap().gate.is_open(now));
    }

    /// The operator asks for something to be run; the task that came of it.
    pub(crate) async fn run(&self, prompt: &str, request: &str) -> Task {
        assert!(self.try_run(prompt, request).await);
        self.store.all_tasks().pop().unwrap()
    }

    /// The operator asks for something to be run; whether that went well.
    pub(crate) async fn try_run(&self, prompt: &str, request: &str) -> bool {
        let command = crate::command::Command::Run {
            agent: None,
            priority: Priority::default(),
            prompt: prompt.to_owned(),
        };
        let operator = Operator::new(self.ports());
        operator
            .obey(command, origin(), request, self.time.now())
            .await
            .is_ok()
    }

    /// Works off the dispatcher's queue until nothing in it is due.
    pub(crate) async fn dispatch_all(&self) {
        while let Some(message) = self.next_dispatched() {
            self.dispatcher().handle(message).await.unwrap();
        }
    }

    /// The next message of the dispatcher's queue that is due.
    pub(crate) fn next_dispatched(&self) -> Option<DispatchMessage> {
        let now = self.time.now();
        let mut waiting = self.waiting.lock().unwrap();
        let sent = self.out.take_dispatched().into_iter();
        waiting.extend(sent.map(|(message, delay)| (now + delay, message)));
        let due = waiting.iter().position(|(at, _)| *at <= now)?;
        Some(waiting.remove(due).1)
    }

    /// The dispatcher's queue loses all that is in it.
    pub(crate) fn lose_dispatched(&self) {
        self.out.take_dispatched();
        self.waiting.lock().unwrap().clear();
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

    pub(crate) async fn drain(&self) {
        self.dispatcher()
            .handle(DispatchMessage::drain(agent_id()))
            .await
            .unwrap();
    }

    /// Works off the queue of bulk work.
    pub(crate) async fn work_on_batches(&self) {
        loop {
            let waiting = std::mem::take(&mut *self.out.batches.lock().unwrap());
            if waiting.is_empty() {
                return;
            }
            for message in waiting {
                self.batch_worker().handle(message).await.unwrap();
            }
        }
    }

    /// Shows all that is to be shown.
    pub(crate) async fn notify_all(&self) {
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
