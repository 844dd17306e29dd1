//! All functions around one store in memory: what a test says and sees is what a user would.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Calls, Memory, Outbox};
use crate::{
    agent::{Agent, ApiKey, Binding, Project, Route},
    breaker::{BreakerConfig, BreakerEvent, FailureKind},
    handlers::{
        authorize::Authorizer,
        batch::BatchWorker,
        connect::Connector,
        disconnect::Disconnector,
        dispatch::Dispatcher,
        event::SocketEvent,
        message::MessageRouter,
        notify::Notifier,
        routing::Router,
        sweep::Sweeper,
        transitions::Transitions,
        webhook::{Operator, Parts},
    },
    ids::{AgentId, BatchId, ConnectionId, Ids, MessageId, TaskId},
    ports::{Agents, Bound, Breakers, DispatchMessage, Projects, Turn, Written},
    protocol::{CloudMessage, Spelling},
    task::{Origin, Priority, Task, TaskPolicy},
    time::{Clock, Timestamp},
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

/// A clock that a test sets, and ids that count.
#[derive(Debug)]
pub(crate) struct Fixed {
    now: AtomicU64,
    next: AtomicU64,
}

impl Fixed {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(1_700_000_000_000),
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.now
            .fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }
}

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }
}

impl Ids for Fixed {
    fn task(&self) -> TaskId {
        TaskId::new(Uuid::from_u128(self.count().into()))
    }

    fn batch(&self) -> BatchId {
        BatchId::new(Uuid::from_u128(self.count().into()))
    }

    fn message(&self) -> MessageId {
        format!("id-{}", self.count()).parse().unwrap()
    }
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

    pub(crate) fn parts(&self) -> Parts {
        Parts {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            breakers: self.store.clone(),
            breaker: BreakerConfig::default(),
            projects: self.store.clone(),
            dispatch: self.out.clone(),
            notifications: self.out.clone(),
            batches: self.store.clone(),
            batch_queue: self.out.clone(),
            dead_letters: self.out.clone(),
            policy: TaskPolicy::default(),
            clock: self.time.clone(),
            ids: self.time.clone(),
        }
    }

    pub(crate) fn authorizer(&self) -> Authorizer {
        Authorizer::new(self.store.clone())
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::new(self.store.clone(), self.out.clone(), self.out.clone())
    }

    pub(crate) fn disconnector(&self) -> Disconnector {
        Disconnector::new(self.store.clone())
    }

    /// A fresh execution environment of `ws-message`: nothing is cached yet.
    pub(crate) fn router(&self) -> MessageRouter {
        MessageRouter::new(
            self.store.clone(),
            self.store.clone(),
            self.out.clone(),
            self.out.clone(),
            self.out.clone(),
            self.transitions(),
            self.time.clone(),
        )
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            breakers: self.store.clone(),
            gateway: self.out.clone(),
            dispatch: self.out.clone(),
            notifications: self.out.clone(),
            transitions: self.transitions(),
            clock: self.time.clone(),
            ids: self.time.clone(),
        }
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            batches: self.store.clone(),
            cards: self.store.clone(),
            breakers: self.store.clone(),
            operations_channel: Some("COPS".parse().unwrap()),
            slack: self.out.clone(),
            clock: self.time.clone(),
        }
    }

    pub(crate) fn batch_worker(&self) -> BatchWorker {
        BatchWorker {
            batches: self.store.clone(),
            tasks: self.store.clone(),
            queue: self.out.clone(),
            notifications: self.out.clone(),
            transitions: self.transitions(),
            clock: self.time.clone(),
        }
    }

    fn transitions(&self) -> Transitions {
        self.transitions_with(TaskPolicy::default())
    }

    pub(crate) fn transitions_with(&self, policy: TaskPolicy) -> Transitions {
        let (store, out) = (self.store.clone(), self.out.clone());
        let breaker = BreakerConfig::default();
        Transitions::new(store.clone(), store, out.clone(), out, policy, breaker)
    }

    pub(crate) fn sweeper(&self) -> Sweeper {
        Sweeper {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            gateway: self.out.clone(),
            dispatch: self.out.clone(),
            batches: self.store.clone(),
            batch_queue: self.out.clone(),
            clock: self.time.clone(),
        }
    }

    /// What an agent does every 20 s: a heartbeat, and the answers to the pings that it was sent.
    pub(crate) async fn beat(&self, router: &MessageRouter, connection: &str) {
        let (pings, others): (Vec<_>, Vec<_>) = self
            .out
            .take_sent()
            .into_iter()
            .partition(|(_, message)| matches!(message, CloudMessage::HeartbeatPing(_)));
        self.say_to(router, connection, "HEARTBEAT_PING", json!({}))
            .await;
        for (_, message) in pings {
            if let CloudMessage::HeartbeatPing(ping) = message {
                let pong = json!({ "agentId": AGENT, "serverTime": ping.server_time,
                    "activeTasks": 0, "cpuUsage": 0, "memoryUsage": 0 });
                self.say_to(router, connection, "HEARTBEAT_PONG", pong)
                    .await;
            }
        }
        self.out.sent.lock().unwrap().extend(others);
    }

    /// The channel's project, as every world has it at first.
    pub(crate) fn project(&self) -> Project {
        project(self.time.now())
    }

    pub(crate) async fn set_project(&self, project: &Project) {
        self.store.put(project).await.unwrap();
    }

    /// The agent connects with its key in a header, and has said something.
    pub(crate) async fn connect(&self, name: &str) {
        self.handshake(name).await;
        self.store
            .spoke(&agent_id(), &connection(name), Spelling::Canonical)
            .await
            .unwrap();
    }

    /// The agent connects with its key in a header.
    pub(crate) async fn handshake(&self, name: &str) {
        let event = event(name, true, String::new());
        self.connector()
            .connect(&event, self.time.now())
            .await
            .unwrap();
    }

    /// The agent connects without a header, and says who it is in its first message.
    pub(crate) async fn authenticate_in_band(&self, name: &str) -> Vec<CloudMessage> {
        let stranger = event(name, false, String::new());
        let connected = self.connector().connect(&stranger, self.time.now()).await;
        connected.unwrap();
        let request = json!({ "agentId": AGENT, "apiKey": self.key.expose(), "version": "1" });
        let body = wire("auth:request", &request, self.time.now());
        self.say_in_band(&self.router(), name, body).await
    }

    /// An agent of this name, made if there is none, connects and has said something.
    pub(crate) async fn join(&self, agent: &str, name: &str) {
        self.add_agent(agent).await;
        let (agent, now) = (agent.parse().unwrap(), self.time.now());
        let binding = Binding::new(connection(name), now, Some(Spelling::Canonical));
        let bound = self.store.bind(&agent, &binding).await;
        assert!(matches!(bound, Ok(Bound::Current { .. })));
    }

    /// That agent says something; what it is answered.
    pub(crate) async fn say_as(
        &self,
        agent: &str,
        name: &str,
        kind: &str,
        payload: Value,
    ) -> Vec<CloudMessage> {
        let body = wire(kind, &payload, self.time.now());
        let agent_id = Some(agent.parse().unwrap());
        let event = SocketEvent {
            agent_id,
            ..event(name, true, body)
        };
        let before = self.out.take_sent();
        self.router().handle(event).await;
        let answers = self.out.take_sent();
        *self.out.sent.lock().unwrap() = before;
        answers.into_iter().map(|(_, message)| message).collect()
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

    /// What the dispatcher moves waiting tasks with.
    pub(crate) fn mover(&self) -> Router {
        Router::from(&self.dispatcher())
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
        let operator = Operator::new(self.parts());
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

    /// The agent says something on `connection`, to a fresh environment.
    pub(crate) async fn say(
        &self,
        connection: &str,
        kind: &str,
        payload: Value,
    ) -> Vec<CloudMessage> {
        self.say_to(&self.router(), connection, kind, payload).await
    }

    /// The agent says something on `connection`, to this environment; what it is answered.
    pub(crate) async fn say_to(
        &self,
        router: &MessageRouter,
        connection: &str,
        kind: &str,
        payload: Value,
    ) -> Vec<CloudMessage> {
        let body = wire(kind, &payload, self.time.now());
        router.handle(event(connection, true, body)).await;
        self.out
            .take_sent()
            .into_iter()
            .map(|(_, message)| message)
            .collect()
    }

    /// Somebody says something on a connection without a header, to this environment.
    pub(crate) async fn say_in_band(
        &self,
        router: &MessageRouter,
        connection: &str,
        body: String,
    ) -> Vec<CloudMessage> {
        router.handle(event(connection, false, body)).await;
        self.out
            .take_sent()
            .into_iter()
            .map(|(_, message)| message)
            .collect()
    }
}

pub(crate) fn wire(kind: &str, payload: &Value, now: Timestamp) -> String {
    json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": now.as_millis() })
        .to_string()
}

pub(crate) fn event(name: &str, authorized: bool, body: String) -> SocketEvent {
    SocketEvent {
        connection_id: connection(name),
        agent_id: authorized.then(agent_id),
        connected_at: None,
        body,
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
