//! `sweeper`: the safety net, once a minute. Finds the work that no message is left for.

use std::{sync::Arc, time::Duration};

use tracing::info;

use crate::{
    error::BematicError,
    ports::{Agents, DispatchMessage, DispatchQueue, Tasks},
    time::Clock,
};

/// Sweeps.
pub struct Sweeper {
    tasks: Arc<dyn Tasks>,
    agents: Arc<dyn Agents>,
    dispatch: Arc<dyn DispatchQueue>,
    clock: Arc<dyn Clock>,
}

impl Sweeper {
    /// On tasks and agents, telling the dispatcher.
    pub fn new(
        tasks: Arc<dyn Tasks>,
        agents: Arc<dyn Agents>,
        dispatch: Arc<dyn DispatchQueue>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            tasks,
            agents,
            dispatch,
            clock,
        }
    }

    /// Has the queue of every agent drained that could take work and has some; says of how many.
    /// Safe to run twice at once: a drain that finds nothing to do does nothing.
    ///
    /// # Errors
    /// The next run, a minute later, does what this one left.
    pub async fn sweep(&self) -> Result<usize, BematicError> {
        let mut drained = 0;
        for agent in self.agents.list().await? {
            if agent.takes_work().is_none()
                || self
                    .tasks
                    .queued(&agent.id, self.clock.now(), 1)
                    .await?
                    .is_empty()
            {
                continue;
            }
            info!(agent = %agent.id, "work was left waiting");
            let drain = DispatchMessage::Drain { agent_id: agent.id };
            self.dispatch.send(&drain, Duration::ZERO).await?;
            drained += 1;
        }
        Ok(drained)
    }
}
