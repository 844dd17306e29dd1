//! What no handler shows alone: whole lives of tasks, with failures, time and disorder.

mod authentication;
mod breaker;
mod bulk;
mod cancelling;
mod connections;
mod dead_letters;
mod disorder;
mod faults;
mod health;
mod presence;
mod repeats;
mod routing;
mod timers;
mod trouble;

use std::collections::BTreeMap;

use bematic_protocol::time::Clock;

use super::webhook::Operator;
use crate::{command::Command, error::BematicError, task::Origin, testing::World};

/// What an operator is answered.
pub(super) async fn obey(world: &World, command: Command) -> String {
    try_obey(world, command).await.unwrap()
}

/// The same, where it may go wrong.
async fn try_obey(world: &World, command: Command) -> Result<String, BematicError> {
    let origin = Origin {
        channel_id: "C1".parse().unwrap(),
        thread_ts: None,
        user_id: "U2".parse().unwrap(),
    };
    let operator = Operator::new(world.ports());
    let request = format!("{command:?}");
    let reply = operator.obey(command, origin, &request, world.time.now());
    Ok(reply.await?.message.text)
}

/// How many tasks there are of each state.
fn states(world: &World) -> Vec<(&'static str, usize)> {
    let mut states = BTreeMap::new();
    for task in world.store.all_tasks() {
        *states.entry(task.state.name()).or_default() += 1;
    }
    states.into_iter().collect()
}
