//! Waiting until a run has come to rest: all tasks over and shown, or nothing happens any more.

use std::time::Duration;

use anyhow::Result;
use bematic::time::{Clock as _, SystemClock, Timestamp};
use tokio::time::sleep;

use super::agent::Agent;
use super::ledger::{Ledger, What};
use super::snapshot::{self, Snapshot, Stored};
use super::world::World;
use crate::ui::Step;

/// How often is looked.
const POLL: Duration = Duration::from_secs(3);
/// Nothing comes any more after this long: the sweeper finds what was left for a minute, and what
/// the notifier failed to do comes back after its visibility timeout of 180 s at the latest.
const QUIET: Duration = Duration::from_secs(200);
/// The end of all patience.
const PATIENCE: Duration = Duration::from_mins(6);

/// Everything that can still change: as long as it does, something goes on.
#[derive(Debug, PartialEq, Eq)]
struct Motion {
    versions: u64,
    shown: u64,
    deeds: usize,
}

/// Waits, and reads everything at the end.
pub(super) async fn settle(
    world: &World,
    agents: &[Agent],
    ledger: &Ledger,
    step: &Step,
) -> Result<Snapshot> {
    let begun = SystemClock.now();
    let (mut last, mut moved_at) = (None, begun);
    loop {
        let tasks = snapshot::tasks(world).await?;
        let open = tasks.values().filter(|stored| !at_rest(stored)).count();
        step.note(&format!(
            "{open} of {} tasks are not over and shown",
            tasks.len()
        ));
        let idle = agents.iter().all(Agent::is_idle);
        if open == 0 && idle && no_slot_taken(world).await? {
            break;
        }
        let now = SystemClock.now();
        let motion = motion(tasks.values(), ledger);
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

fn at_rest(stored: &Stored) -> bool {
    let task = &stored.task;
    task.state.is_terminal() && task.shown >= task.version
}

async fn no_slot_taken(world: &World) -> Result<bool> {
    let agents = world.agents().await?;
    Ok(agents.iter().all(|agent| agent.held.is_empty()))
}

fn motion<'a>(tasks: impl Iterator<Item = &'a Stored>, ledger: &Ledger) -> Motion {
    let (mut versions, mut shown) = (0, 0);
    for stored in tasks {
        versions += stored.task.version;
        shown += stored.task.shown;
    }
    let deeds = ledger.count(|what| matches!(what, What::Run(..)));
    Motion {
        versions,
        shown,
        deeds,
    }
}
