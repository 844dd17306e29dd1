//! Moving at the same time as something else, and with failures.

use std::{collections::BTreeMap, time::Duration};

use bematic::{
    breaker::{Gate, PermittedAttempts},
    ports::DispatchMessage,
    task::TaskState,
};
use bematic_protocol::{ids::AgentId, time::Clock};
use fake_aws::FailurePoint;
use futures::future::join;
use proptest::prelude::*;

use super::{id, pass, run_all, submitted};
use crate::world::World;

const PROMPTS: [&str; 4] = ["one", "two", "three", "four"];

/// All agents are there, and all tasks wait for `box`.
async fn waiting_for_box() -> World {
    let world = World::new().await;
    world.add_agent("b").await;
    world.add_agent("d").await;
    world.set_route("box,b,d").await;
    run_all(&world, &PROMPTS).await;
    world.out.take_dispatched();
    world.connect("c").await;
    world.join("b", "cb").await;
    world.join("d", "cd").await;
    world
}

fn connection_of(agent: &AgentId) -> &'static str {
    match agent.as_str() {
        "b" => "cb",
        "d" => "cd",
        _ => "c",
    }
}

async fn dispatch(world: &World, agent: &str) {
    let agent_id = id(agent);
    let message = DispatchMessage::agent_queue(agent_id);
    world.dispatcher().handle(message).await.unwrap();
}

/// As `box` was when its breaker was open.
async fn shut(world: &World) -> bematic::agent::Agent {
    let permitted = PermittedAttempts::Nothing {
        until: world.time.now() + Duration::from_mins(1),
        drained: false,
    };
    let mut agent = world
        .unobserved
        .agents
        .find(&id("box"))
        .await
        .unwrap()
        .unwrap();
    agent.gate = Gate {
        generation: 1,
        incidents: 1,
        permitted,
    };
    agent
}

/// How often each task was sent, and that each is held by the one that it was sent to.
fn assert_sent_once(world: &World, sent: &[(String, String, u32)]) {
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for (_, prompt, _) in sent {
        *times.entry(prompt.as_str()).or_default() += 1;
    }
    let all: BTreeMap<_, _> = PROMPTS.map(|prompt| (prompt, 1)).into();
    assert_eq!(times, all, "{sent:?}");
    for task in world.store.all_tasks() {
        assert!(matches!(task.state, TaskState::Dispatched { .. }));
        let (slot, to) = (task.slot().unwrap().to_string(), &task.agent_id);
        for agent in ["box", "b", "d"] {
            let holds = world.store.agent(&id(agent)).unwrap().held.contains(&slot);
            assert_eq!(holds, id(agent) == *to, "{} at {agent}", task.title);
        }
        let connection = connection_of(to);
        let there = sent
            .iter()
            .any(|(at, prompt, _)| at == connection && *prompt == task.title);
        assert!(there, "{} is {to}'s: {sent:?}", task.title);
    }
}

/// Dispatches the queue of `box` and moves its tasks at the same time. Returns the number of tasks that
/// were moved, and of those that were sent.
fn both(seed: u64) -> (usize, usize) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async {
            let world = waiting_for_box().await;
            let agent = shut(&world).await;
            let now = world.time.now();
            world.calls.interleave(seed);
            let (first, second) = (world.dispatcher(), world.dispatcher());
            let both = join(
                first.move_waiting(&agent, now),
                second.move_waiting(&agent, now),
            );
            let dispatches = join(dispatch(&world, "box"), dispatch(&world, "b"));
            let ((first, second), _) = Box::pin(join(both, dispatches)).await;
            let (first, second) = (first.unwrap(), second.unwrap());
            world.dispatch_all().await;
            let sent = submitted(&world);
            assert_sent_once(&world, &sent);
            let moved = sent.iter().filter(|(to, ..)| to != "c").count();
            assert_eq!(first + second, moved, "each was moved once");
            (moved, sent.len() - moved)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn a_task_is_either_moved_or_sent_and_never_both(seed in any::<u64>()) {
        both(seed);
    }
}

#[test]
fn races_of_moving_and_sending_go_either_way() {
    let outcomes: Vec<_> = (1..60).map(both).collect();
    assert!(outcomes.iter().any(|(moved, sent)| *moved > 0 && *sent > 0));
}

#[tokio::test]
async fn a_failure_at_any_call_loses_nothing() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = waiting_for_box().await;
            let agent = shut(&world).await;
            world.open_breaker("box").await;
            world.calls.fail(n, when);
            let first = world
                .dispatcher()
                .move_waiting(&agent, world.time.now())
                .await;
            if world.calls.unused_failure() {
                assert_eq!(first.unwrap(), 4);
                assert!(n > 10, "{n} calls were made to fail");
                return;
            }
            // Nobody repeats it: the sweeper finds what is left.
            pass(
                &world,
                Duration::from_mins(3),
                &[("box", "c"), ("b", "cb"), ("d", "cd")],
            )
            .await;
            for task in world.store.all_tasks() {
                assert_eq!(
                    task.state
                        .last_attempt()
                        .map(bematic_protocol::ids::Attempt::number),
                    Some(1),
                    "call {n} ({when:?})"
                );
            }
            let sent = submitted(&world);
            assert_eq!(sent.len(), PROMPTS.len(), "call {n} ({when:?}): {sent:?}");
        }
    }
}
