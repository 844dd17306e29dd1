//! Waiting until a run has come to rest: all tasks over and shown, or nothing happens any more.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use bematic_protocol::ids::TaskId;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use tokio::time::sleep;

use super::agent::RunningAgent;
use super::snapshot::{self, Snapshot};
use super::world::World;
use crate::ui::Step;
use bematic_test_agent::{Ledger, What};

/// How often is looked.
const POLL: Duration = Duration::from_secs(3);
/// Nothing comes any more after this long: the sweeper finds what was left for a minute, and what
/// the notifier failed to do comes back after its visibility timeout of 180 s at the latest.
const QUIET: Duration = Duration::from_secs(200);
/// The end of all patience.
const PATIENCE: Duration = Duration::from_mins(6);

/// What is still to happen, and what has: as long as it changes, something goes on.
#[derive(Debug, PartialEq, Eq)]
struct Motion {
    open: BTreeSet<TaskId>,
    deeds: usize,
}

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
        let idle = agents.iter().all(RunningAgent::is_idle);
        if open.is_empty() && idle && no_slot_taken(world).await? {
            break;
        }
        let deeds = ledger.count(|what| matches!(what, What::Run(..)));
        let (now, motion) = (SystemClock.now(), Motion { open, deeds });
        if last.as_ref() != Some(&motion) {
            (last, moved_at) = (Some(motion), now);
        }
        if given_up(begun, moved_at, now) {
            break;
        }
        sleep(POLL).await;
    }
    snapshot::take(world).await
}

fn given_up(begun: Timestamp, moved_at: Timestamp, now: Timestamp) -> bool {
    now.since(moved_at) >= QUIET || now.since(begun) >= PATIENCE
}

async fn no_slot_taken(world: &World) -> Result<bool> {
    let agents = world.agents().await?;
    Ok(agents.iter().all(|agent| agent.held.is_empty()))
}
