//! Which agent gets a task, and what becomes of it when another would be better.

mod disturbed;
mod reports;
mod waiting;

use std::time::Duration;

use bematic::{ports::HeartbeatContent, task::Task};
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::CloudMessage,
    time::Clock,
};
use serde_json::json;

use crate::world::{World, execute};

fn id(agent: &str) -> AgentId {
    agent.parse().unwrap()
}

/// What was sent to run: the connection, the prompt, and the attempt.
fn submitted(world: &World) -> Vec<(String, String, u32)> {
    let sent = world.out.take_sent().into_iter();
    let submitted = |(to, message): (ConnectionId, CloudMessage)| match message {
        CloudMessage::TaskSubmit(submit) => {
            let attempt = submit
                .attempt
                .map_or(0, bematic_protocol::ids::Attempt::number);
            Some((to.to_string(), submit.prompt.clone(), attempt))
        }
        _ => None,
    };
    sent.filter_map(submitted).collect()
}

/// Whose the task is.
fn agent_of(world: &World, task: &Task) -> String {
    world.store.task(task.id).unwrap().agent_id.to_string()
}

/// Moves what waits for the agent as it is; how much that was.
async fn move_from(world: &World, agent: &str) -> usize {
    let agent = world.store.agent(&id(agent)).unwrap();
    let now = world.time.now();
    world.dispatcher().move_waiting(&agent, now).await.unwrap()
}

/// Time passes; these agents are there all the while, and take what they are sent.
async fn pass(world: &World, time: Duration, there: &[(&str, &str)]) {
    const STEP: Duration = Duration::from_secs(20);
    let until = world.time.now() + time;
    while world.time.now() < until {
        for (agent, connection) in there {
            let now = world.time.now();
            let sign = HeartbeatContent {
                echoes: Some(now),
                ..HeartbeatContent::default()
            };
            let (agent, connection) = (id(agent), connection.parse().unwrap());
            let alive = world
                .unobserved
                .presence
                .record_heartbeat(&agent, &connection, &sign, now);
            alive.await.unwrap().unwrap();
        }
        world.pass(STEP).await;
        for (agent, connection) in there {
            acknowledge(world, agent, connection).await;
        }
    }
}

/// Says that the agent has taken all that it was sent.
async fn acknowledge(world: &World, agent: &str, connection: &str) {
    let sent = world.out.sent();
    for (to, message) in sent {
        if let CloudMessage::TaskSubmit(submit) = message
            && to.as_str() == connection
        {
            let ack = json!({ "taskId": submit.task_id, "attempt": submit.attempt,
                "accepted": true });
            world.say_as(agent, connection, "TASK_ACK", ack).await;
        }
    }
}

async fn run_all(world: &World, prompts: &[&str]) -> Vec<Task> {
    let mut tasks = Vec::new();
    for prompt in prompts {
        tasks.push(world.run(prompt, prompt).await);
    }
    tasks
}

#[tokio::test]
async fn a_new_task_goes_to_the_least_loaded_connected_agent() {
    let world = World::new().await;
    world.connect("c").await;
    world.join("b", "cb").await;
    world.add_agent("away").await;
    world.set_route("away,box,b").await;
    let tasks = run_all(&world, &["1", "2", "3"]).await;
    let agents: Vec<_> = tasks.iter().map(|it| it.agent_id.to_string()).collect();
    assert_eq!(agents, ["box", "b", "box"], "those that wait count");
    world.dispatch_all().await;
    world.out.take_sent();
    let next = world.run("4", "4").await;
    assert_eq!(next.agent_id, id("b"), "and those that run");
    // Any agent will do: by name, where they are alike.
    world.set_route("any").await;
    let tasks = run_all(&world, &["5", "6", "7"]).await;
    let agents: Vec<_> = tasks.iter().map(|it| it.agent_id.to_string()).collect();
    assert_eq!(agents, ["b", "box", "b"]);
}

#[tokio::test]
async fn an_agent_whose_breaker_is_open_gets_no_new_task() {
    let world = World::new().await;
    world.connect("c").await;
    world.join("b", "cb").await;
    world.set_route("box,b").await;
    world.open_breaker("box").await;
    for task in run_all(&world, &["1", "2", "3"]).await {
        assert_eq!(task.agent_id, id("b"));
    }
    // Unless that is said.
    world.set_route("box").await;
    assert_eq!(world.run("4", "4").await.agent_id, id("box"));
}

#[tokio::test]
async fn a_choice_costs_a_read_of_each_agent_and_a_count_for_each_candidate() {
    let world = World::new().await;
    world.join("b", "cb").await;
    world.add_agent("d").await;
    let costs: [(&str, &[&str]); 4] = [
        ("box", &[]),
        ("box,d", &["GetItem AgentsTable", "GetItem AgentsTable"]),
        ("b,d", &["GetItem AgentsTable", "GetItem AgentsTable"]),
        (
            "any",
            &[
                "Query AgentsTable/list",
                "Query AgentsTable/list",
                "Query AgentsTable/list",
                "Query AgentsTable/list",
                "BatchGetItem AgentsTable",
            ],
        ),
    ];
    for (route, expected) in costs {
        world.set_route(route).await;
        world.calls.take();
        world.run("work", route).await;
        let calls = world.calls.take();
        let rest = [
            "Query TasksTable",
            "TransactWriteItems TasksTable AgentsTable",
            "SendMessage DispatchQueue",
            "PutItem AgentsTable",
        ];
        let expected = [&["BatchGetItem AgentsTable"], expected, &rest].concat();
        assert_eq!(calls, expected, "{route}");
    }
    world.connect("c").await;
    world.set_route("any").await;
    world.calls.take();
    world.run("work", "r").await;
    let counted = [
        "Query AgentsTable/list",
        "Query AgentsTable/list",
        "Query AgentsTable/list",
        "Query AgentsTable/list",
        "BatchGetItem AgentsTable",
        "Query TasksTable",
        "Query TasksTable",
    ];
    assert_eq!(world.calls.take()[1..8], counted);
}

#[tokio::test]
async fn unknown_agents_of_a_route_are_left_out_and_a_route_without_known_agents_is_refused() {
    let world = World::new().await;
    world.set_route("nobody,box").await;
    assert_eq!(world.run("1", "1").await.agent_id, id("box"));
    world.set_route("nobody,no-one").await;
    let command = bematic::command::Command::Run(bematic::command::RunArguments {
        agent: None,
        priority: bematic::task::Priority::default(),
        prompt: "2".to_owned(),
    });
    let answer = execute(&world, command).await;
    assert!(answer.contains("`nobody,no-one`"), "{answer}");
    assert!(answer.contains("bematic agent create nobody"), "{answer}");
    assert_eq!(world.store.all_tasks().len(), 1);
}

/// Only those that could still be the least loaded are counted, and it is.
#[tokio::test]
async fn of_many_agents_few_are_counted() {
    let world = World::new().await;
    for n in 0..40 {
        world.join(&format!("a{n:02}"), &format!("c{n}")).await;
    }
    world.set_route("any").await;
    world.calls.take();
    let mut agents = Vec::new();
    for n in 0..40 {
        let task = world.run("work", &format!("r{n}")).await;
        agents.push(task.agent_id);
    }
    let counted = world.calls.take().into_iter();
    let counted = counted.filter(|call| *call == "Query TasksTable").count();
    assert!(counted < 40 * 40, "{counted}");
    agents.sort();
    agents.dedup();
    assert_eq!(agents.len(), 40, "each got one");
}
