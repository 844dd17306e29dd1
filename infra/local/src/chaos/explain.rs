//! The records of an offence: the ledger's lines and the functions' log lines.

use std::collections::BTreeSet;

use anyhow::Result;

use super::verdict::Verdict;
use crate::logs;
use crate::session::Session;
use crate::stack::StackFile;
use bematic_test_agent::{Entry, What};

/// Offences that are explained.
const EXPLAINED: usize = 3;
/// Log lines of all functions about one of them.
const LINES: usize = 120;

/// Prints the records of the first tasks and agents that a verdict names.
pub(super) async fn explain(
    session: &Session<'_>,
    stack: &StackFile,
    ledger: &[Entry],
    verdict: &Verdict,
) -> Result<()> {
    let ui = session.ui;
    let named = verdict.offences.iter().map(|offence| &*offence.about);
    let ids: BTreeSet<_> = named.filter_map(|about| about.split('#').next()).collect();
    for id in ids.into_iter().take(EXPLAINED) {
        ui.line(&format!("── what the agents did with {id}"));
        for entry in ledger {
            if let What::Run(run, deed) = &entry.what
                && run.task_id.to_string() == id
            {
                let (at, agent, attempt) = (entry.at, &entry.agent, run.attempt);
                ui.line(&format!("{at} {agent} attempt {attempt}: {deed:?}"));
            }
        }
        ui.line(&format!("── what the functions said of {id}"));
        // In the order of time.
        let mut events = BTreeSet::new();
        for function in session.workspace.functions()? {
            for event in logs::events(stack, &function, id).await? {
                events.insert((event.timestamp, function.clone(), event.message));
            }
        }
        for (at, function, line) in events.into_iter().take(LINES) {
            ui.line(&format!("{at} {function}: {}", logs::readable(&line)));
        }
    }
    Ok(())
}
