//! The wait until a run has come to rest: all tasks are over and shown, or nothing happens any more.

use std::time::Duration;

use anyhow::Result;
use bematic_protocol::time::{Clock as _, SystemClock};
use tokio::time::sleep;

use super::agent::RunningAgent;
use super::snapshot::{self, Snapshot};
use super::world::World;
use crate::ui::Step;
use bematic_test_agent::{Ledger, What};

/// The pause between two looks at the run.
const POLL: Duration = Duration::from_secs(3);
/// The time without a change after which nothing will change any more: the sweeper finds a lost message
/// after a minute, and a refresh that failed is repeated after the visibility timeout of 180 s.
const QUIET: Duration = Duration::from_secs(200);
/// The longest wait in all.
const PATIENCE: Duration = Duration::from_mins(6);

/// Waits, and reads everything at the end.
pub(super) async fn settle(
    world: &World,
    agents: &[RunningAgent],
    ledger: &Ledger,
    step: &Step,
) -> Result<Snapshot> {
    let begun = SystemClock.now();
    let (mut last, mut moved_at) = (None, begun);
    loop {
        let open = world.open_tasks().await?;
        step.note(&format!("{} tasks are not over and shown", open.len()));
        let is_idle = agents.iter().all(RunningAgent::is_idle);
        let mut stored = world.agents().await?.into_iter();
        if open.is_empty() && is_idle && stored.all(|agent| agent.held.is_empty()) {
            break;
        }
        // As long as either changes, something goes on.
        let deeds = ledger.count(|what| matches!(what, What::Run(..)));
        let (now, motion) = (SystemClock.now(), Some((open, deeds)));
        if last != motion {
            (last, moved_at) = (motion, now);
        }
        if now.since(moved_at) >= QUIET || now.since(begun) >= PATIENCE {
            break;
        }
        sleep(POLL).await;
    }
    snapshot::take(world).await
}
