//! A failure at any call, between any write and the send after it: the sender repeats, or the
//! sweeper finds it.

use std::{collections::BTreeSet, time::Duration};

use bematic::handlers::message::MessageRouter;
use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::CloudMessage,
    time::Clock,
};
use fake_aws::FailurePoint;
use local_slack::Message;
use serde_json::json;

use crate::world::{World, agent_id};

/// How long a failure may keep a task from being completed and shown.
const WITHIN: u64 = 150;

/// An agent as it should be: connects again, runs an attempt once, repeats what is not confirmed.
struct Agent {
    router: MessageRouter,
    connection: Option<String>,
    connections: usize,
    ran: BTreeSet<(TaskId, Option<Attempt>)>,
    unconfirmed: Option<(TaskId, Option<Attempt>)>,
}

impl Agent {
    fn new(world: &World) -> Self {
        Self {
            router: world.router(),
            connection: None,
            connections: 0,
            ran: BTreeSet::new(),
            unconfirmed: None,
        }
    }

    async fn connect(&mut self, world: &World) {
        self.connections += 1;
        let name = format!("c{}", self.connections);
        world.out.open(&name);
        let event = crate::world::event(&name, true, String::new());
        let bound = world.on_connect(&event).await;
        if bound.is_ok() {
            self.connection = Some(name.clone());
            let status = json!({ "agentId": "box", "status": "online", "activeTasks":
                self.ran.iter().map(|(task, _)| task).collect::<Vec<_>>() });
            self.say(world, "AGENT_STATUS", status).await;
        }
    }

    async fn say(&self, world: &World, kind: &str, payload: serde_json::Value) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        let before = world.out.take_sent();
        let answers = world.say_to(&self.router, connection, kind, payload).await;
        world.out.put_back(before);
        answers
            .iter()
            .any(|answer| matches!(answer, CloudMessage::MessageAck(_)))
    }

    async fn second(&mut self, world: &World) {
        let closed = |name: &String| {
            let id = crate::world::connection(name);
            world.out.closed().contains(&id)
        };
        if self.connection.as_ref().is_none_or(closed) {
            self.connect(world).await;
        }
        let secs = world.time.now().as_secs();
        if secs.is_multiple_of(20) {
            let tasks: Vec<_> = self.unconfirmed.iter().map(|(task, _)| task).collect();
            self.say(world, "HEARTBEAT_PING", json!({ "tasks": tasks }))
                .await;
        }
        for (_, message) in world.out.take_sent() {
            if let CloudMessage::HeartbeatPing(ping) = &message {
                let pong = json!({ "agentId": "box", "serverTime": ping.server_time,
                    "activeTasks": 0, "cpuUsage": 0, "memoryUsage": 0 });
                self.say(world, "HEARTBEAT_PONG", pong).await;
            }
            if let CloudMessage::TaskSubmit(submit) = message {
                let run = (submit.task_id, submit.attempt);
                let task = json!({ "taskId": run.0, "attempt": run.1, "accepted": true });
                self.say(world, "TASK_ACK", task).await;
                if self.ran.insert(run) {
                    let progress = json!({ "taskId": run.0, "attempt": run.1, "message": "on it" });
                    self.say(world, "TASK_PROGRESS", progress).await;
                    let output =
                        json!({ "taskId": run.0, "attempt": run.1, "delta": "x", "seq": 0 });
                    self.say(world, "TASK_STREAM", output).await;
                    self.unconfirmed = Some(run);
                }
            }
        }
        if let Some((task, attempt)) = self.unconfirmed
            && secs.is_multiple_of(3)
        {
            let done = json!({ "taskId": task, "attempt": attempt, "result": "all done" });
            if self.say(world, "TASK_COMPLETE", done).await {
                self.unconfirmed = None;
            }
        }
    }
}

fn is_settled(world: &World) -> bool {
    let shown = world.slack.messages();
    let completed = |message: &Message| message.content.text.contains("ompleted");
    world
        .store
        .all_tasks()
        .iter()
        .all(|task| task.state.name() == "completed")
        && shown.len() == 1
        && shown.iter().all(completed)
}

/// A task's whole life; how many seconds it took, and how many calls.
async fn life(failure: Option<(usize, FailurePoint)>) -> (Option<u64>, usize) {
    let world = World::new().await;
    if let Some((n, when)) = failure {
        world.calls.fail(n, when);
    }
    let mut agent = Agent::new(&world);
    // The operator asks again only if nothing came of it.
    while world.store.all_tasks().is_empty() {
        world.try_run("fix it", "r").await;
    }
    for second in 0..WITHIN {
        world.time.pass(Duration::from_secs(1));
        if world.time.now().as_secs().is_multiple_of(60) {
            let _ = world.sweeper().sweep().await;
        }
        agent.second(&world).await;
        // What fails comes again.
        while world.feed_dispatcher().await.done > 0 {}
        while world.feed_notifier().await.done > 0 {}
        if is_settled(&world) && agent.unconfirmed.is_none() {
            assert!(
                world.store.agent(&agent_id()).unwrap().held.is_empty(),
                "a slot leaked"
            );
            assert_eq!(world.store.all_tasks().len(), 1, "one task was asked for");
            return (Some(second), world.calls.take().len());
        }
    }
    (None, world.calls.take().len())
}

#[tokio::test]
async fn a_failure_at_any_call_loses_nothing() {
    let (undisturbed, calls) = life(None).await;
    assert!(undisturbed.is_some_and(|secs| secs < 10), "{undisturbed:?}");
    assert!(calls > 30, "{calls}");
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0..calls {
            let (settled, _) = life(Some((n, when))).await;
            assert!(
                settled.is_some(),
                "lost when call {n} of {calls} fails ({when:?})"
            );
        }
    }
}
