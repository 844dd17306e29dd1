//! Every message twice, in any order, by ten executions at once: the end is the same.

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::CloudMessage,
    time::Clock,
};
use futures::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, agent_id, event};

/// What an agent says of a task, in order.
fn messages(task: TaskId) -> Vec<(&'static str, Value)> {
    let mut said = vec![("TASK_ACK", json!({ "accepted": true }))];
    for seq in 0..4 {
        said.push((
            "TASK_STREAM",
            json!({ "delta": format!("line {seq}\n"), "seq": seq }),
        ));
        said.push((
            "TASK_PROGRESS",
            json!({ "message": format!("step {seq}"), "timestamp": seq }),
        ));
    }
    said.push(("TASK_COMPLETE", json!({ "result": "done" })));
    for (_, payload) in &mut said {
        payload["taskId"] = json!(task);
        payload["attempt"] = json!(1);
    }
    said
}

/// All that can be seen of a task in the end.
#[derive(Debug, PartialEq)]
struct End {
    state: &'static str,
    attempt: Option<Attempt>,
    output: String,
    steps: usize,
    held: usize,
    late: usize,
}

/// Has `order` said by ten executions, which take turns as the seed says.
async fn end(order: &[usize], seed: u64) -> End {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let said = messages(task);
    let routers: Vec<_> = (0..10).map(|_| world.router()).collect();
    world.calls.interleave(seed);
    for at_once in order.chunks(routers.len()) {
        let executions = at_once.iter().zip(&routers).map(|(index, router)| {
            let (kind, payload) = &said[index % said.len()];
            let body = json!({ "id": format!("m{}", index % said.len()), "type": kind,
                "payload": payload, "timestamp": world.time.now() });
            router.handle(event("c", true, body.to_string()))
        });
        join_all(executions).await;
    }
    let stored = world.store.task(task).unwrap();
    End {
        state: stored.state.name(),
        attempt: stored.state.last_attempt(),
        output: world.store.whole_output(task, Attempt::FIRST),
        steps: world.store.step_count(),
        held: world.store.agent(&agent_id()).unwrap().held.len(),
        late: world.store.late(task).len(),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn messages_twice_and_in_any_order_end_as_once_and_in_order(
        order in Just((0..20_usize).collect::<Vec<_>>()).prop_shuffle(),
        seed: u64,
    ) {
        let in_order = run(end(&(0..10).collect::<Vec<_>>(), 1));
        prop_assert_eq!(in_order.state, "completed");
        prop_assert_eq!(run(end(&order, seed)), in_order);
    }

    #[test]
    fn ten_dispatchers_at_once_keep_to_the_capacity_and_send_no_attempt_twice(seed: u64) {
        run(async {
            let world = World::new().await;
            world.connect("c").await;
            for n in 0..12 {
                world.run(&format!("task {n}"), &format!("r{n}")).await;
                world.time.pass(std::time::Duration::from_millis(1));
            }
            world.out.take_dispatched();
            world.calls.interleave(seed);
            let dispatchers: Vec<_> = (0..10).map(|_| world.dispatcher()).collect();
            let handled = dispatchers.iter().map(|dispatcher| {
                dispatcher.handle(bematic::ports::DispatchMessage::agent_queue(agent_id()))
            });
            for outcome in join_all(handled).await {
                outcome.unwrap();
            }
            let sent = world.out.take_sent();
            let agent = world.store.agent(&agent_id()).unwrap();
            assert_eq!(sent.len(), agent.capacity as usize);
            assert_eq!(agent.held.len(), sent.len());
            let prompts: Vec<_> = sent
                .iter()
                .filter_map(|(_, message)| match message {
                    CloudMessage::TaskSubmit(submit) => Some(submit.prompt.clone()),
                    _ => None,
                })
                .collect();
            assert_eq!(prompts, ["task 0", "task 1", "task 2", "task 3", "task 4"]);
        });
    }
}
