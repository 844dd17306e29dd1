//! Operators: commands and their replies.

use std::collections::BTreeMap;

use bematic::{
    access::Actor,
    command::{Command, RunArguments},
    error::BematicError,
    handlers::webhook::CommandOutcome,
    task::{Origin, Priority, Task},
};
use bematic_protocol::time::Clock;

use super::{SLACK_WEBHOOK, World, origin};

impl World {
    /// Executes `/bm run`, and returns the new task.
    pub(crate) async fn run(&self, prompt: &str, request: &str) -> Task {
        assert!(self.try_run(prompt, request).await);
        let made = self.store.task(self.time.last_task());
        made.unwrap_or_else(|| self.store.all_tasks().pop().unwrap())
    }

    /// Executes `/bm run`, and returns whether it succeeded.
    pub(crate) async fn try_run(&self, prompt: &str, request: &str) -> bool {
        let command = Command::Run(RunArguments {
            agent: None,
            priority: Priority::default(),
            prompt: prompt.to_owned(),
        });
        let executor = self.executor(self.ports(SLACK_WEBHOOK));
        let outcome = executor.execute(actor(origin()), command, request, self.time.now());
        outcome.await.is_ok()
    }
}

/// Returns an actor of the workspace.
pub(crate) const fn actor(origin: Origin) -> Actor {
    Actor {
        origin,
        is_external: false,
    }
}

/// Executes a command, and returns the reply's text.
pub(crate) async fn execute(world: &World, command: Command) -> String {
    try_execute(world, command).await.unwrap()
}

/// Executes a command that may fail.
pub(crate) async fn try_execute(world: &World, command: Command) -> Result<String, BematicError> {
    let origin = Origin {
        user_id: "U2".parse().unwrap(),
        ..origin()
    };
    let executor = world.executor(world.ports(SLACK_WEBHOOK));
    let request = format!("{command:?}");
    let executing = executor.execute(actor(origin), command, &request, world.time.now());
    Ok(match executing.await? {
        CommandOutcome::Done(reply) | CommandOutcome::TaskCreated(_, reply) => reply.message.text,
        CommandOutcome::Refused { text, .. } => text,
    })
}

/// Returns the number of tasks in each state.
pub(crate) fn states(world: &World) -> Vec<(&'static str, usize)> {
    let mut states = BTreeMap::new();
    for task in world.store.all_tasks() {
        *states.entry(task.state.name()).or_default() += 1;
    }
    states.into_iter().collect()
}
