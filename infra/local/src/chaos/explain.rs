//! What there is to read about an offence: the ledger's lines and the functions' log lines.

use std::collections::BTreeSet;

use anyhow::Result;
use xtask::Workspace;

use super::verdict::Verdict;
use crate::logs;
use crate::stack::StackFile;
use crate::ui::Ui;
use bematic_test_agent::{Entry, What};

/// Offences that are explained.
const EXPLAINED: usize = 3;
/// Log lines of all functions about one of them.
const LINES: usize = 120;

/// Prints what happened to the first that a verdict names.
pub(super) async fn explain(
    workspace: &Workspace,
    stack: &StackFile,
    ledger: &[Entry],
    verdict: &Verdict,
    ui: &Ui,
) -> Result<()> {
    let named = verdict.offences.iter().map(|offence| &*offence.about);
    let ids: BTreeSet<_> = named.filter_map(|about| about.split('#').next()).collect();
    for id in ids.into_iter().take(EXPLAINED) {
        ui.line(&format!("── what the agents did with {id}"));
        ledger
            .iter()
            .filter_map(|entry| told(entry, id))
            .for_each(|line| ui.line(&line));
        ui.line(&format!("── what the functions said of {id}"));
        for line in said(workspace, stack, id).await? {
            ui.line(&line);
        }
    }
    Ok(())
}

fn told(entry: &Entry, id: &str) -> Option<String> {
    let What::Run(run, deed) = &entry.what else {
        return None;
    };
    let of_task = run.task_id.to_string() == id;
    of_task.then(|| {
        let (at, agent, attempt) = (entry.at, &entry.agent, run.attempt);
        format!("{at} {agent} attempt {attempt}: {deed:?}")
    })
}

/// The functions' lines in the order of time.
async fn said(workspace: &Workspace, stack: &StackFile, id: &str) -> Result<Vec<String>> {
    let mut events = BTreeSet::new();
    for function in workspace.functions()? {
        for event in logs::events(stack, &function, id).await? {
            events.insert((event.timestamp, function.clone(), event.message));
        }
    }
    let lines = events.into_iter().take(LINES);
    Ok(lines
        .map(|(at, function, line)| format!("{at} {function}: {}", logs::readable(&line)))
        .collect())
}
