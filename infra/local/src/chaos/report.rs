//! The report of a run: a table for a person, JSON for machines; and the records of what may not happen.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use bematic_test_agent::{AgentEvent, Entry};
use serde::Serialize;
use strum::VariantArray as _;

use super::verdict::{Verdict, ViolationKind};
use crate::edge::CallCounts;
use crate::logs;
use crate::session::Session;
use crate::stack::StackFile;

/// Violations that are named.
const MAX_LISTED_VIOLATIONS: usize = 25;
/// Tasks and agents whose records are printed.
const MAX_EXPLAINED_IDS: usize = 3;
/// Log lines of all functions about one of them.
const MAX_LINES_PER_ID: usize = 120;

/// A run and its verdict.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) agents: usize,
    pub(super) concurrency: usize,
    /// The time during which faults were injected.
    pub(super) disturbed_ms: u64,
    /// Attempts that agents ended in that time.
    pub(super) ended_disturbed: usize,
    /// From the first task to the verdict.
    pub(super) whole_ms: u64,
    pub(super) calls: CallCounts,
    /// Commands that the webhook did not answer as it should.
    pub(super) unanswered: usize,
    pub(super) verdict: Verdict,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        writeln!(
            f,
            "\nSeed {}: {} agents that take {} tasks at once, disturbed for {}, at rest after {}\n",
            self.seed,
            self.agents,
            self.concurrency,
            millis_as_seconds(self.disturbed_ms),
            millis_as_seconds(self.whole_ms),
        )?;
        let told = format!(
            "of which operators were told of {}; {} commands had no proper answer",
            verdict.confirmed, self.unanswered
        );
        write_row(f, "tasks submitted", verdict.submitted, &told)?;
        write_row(f, "completed", verdict.completed, "")?;
        write_row(f, "cancelled", verdict.cancelled, "")?;
        let causes = verdict.failed.iter();
        let causes: Vec<_> = causes
            .map(|(cause, count)| format!("{count} {cause}"))
            .collect();
        let failed: usize = verdict.failed.values().sum();
        write_row(f, "failed", failed, &causes.join(", "))?;
        let attempts = format!(
            "{} ended with their agent, {} repeated one that was not acknowledged in time",
            verdict.died, verdict.repeated
        );
        write_row(f, "attempts begun", verdict.started, &attempts)?;
        let note = "the others were left to the calm, when the queues drain";
        write_row(f, "ended while disturbed", self.ended_disturbed, note)?;
        write_row(f, "tasks with a late report", verdict.late, "")?;
        write_row(f, "breakers that opened", verdict.opened, "")?;
        writeln!(f)?;
        for kind in ViolationKind::VARIANTS {
            let count = verdict.count_violations(*kind);
            let note = if count == 0 { "" } else { "must be 0" };
            write_row(f, kind.into(), count, note)?;
        }
        writeln!(f)?;
        let times = &verdict.reconnects;
        let note = format!(
            "half within {}, 95 % within {}, all within {}; {} were cut off before",
            millis_as_seconds(times.p50),
            millis_as_seconds(times.p95),
            millis_as_seconds(times.max),
            times.cut_short,
        );
        write_row(f, "reconnected and drained", times.drained, &note)?;
        let note = format!("of {}", self.calls.made);
        write_row(f, "calls to AWS that failed", self.calls.failed, &note)?;
        if !verdict.violations.is_empty() {
            writeln!(f)?;
        }
        for violation in verdict.violations.iter().take(MAX_LISTED_VIOLATIONS) {
            let kind: &str = violation.kind.into();
            writeln!(f, "  {kind}: {}: {}", violation.about, violation.why)?;
        }
        match verdict
            .violations
            .len()
            .saturating_sub(MAX_LISTED_VIOLATIONS)
        {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}

fn write_row(f: &mut Formatter<'_>, what: &str, count: impl Display, note: &str) -> fmt::Result {
    let row = format!("  {what:<26}{count:>7}   {note}");
    writeln!(f, "{}", row.trim_end())
}

fn millis_as_seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

/// Prints the ledger's and the functions' log lines about the first tasks and agents that a verdict names.
pub(super) async fn print_violation_records(
    session: &Session<'_>,
    stack: &StackFile,
    ledger: &[Entry],
    verdict: &Verdict,
) -> Result<()> {
    let ui = session.ui;
    let named = verdict
        .violations
        .iter()
        .map(|it| it.about.split('#').next());
    let ids: BTreeSet<_> = named.flatten().collect();
    for id in ids.into_iter().take(MAX_EXPLAINED_IDS) {
        ui.print_line(&format!("── what the agents did with {id}"));
        for Entry { at, agent, what } in ledger {
            if let AgentEvent::Run(run, event) = what
                && run.task_id.to_string() == id
            {
                ui.print_line(&format!("{at} {agent} attempt {}: {event:?}", run.attempt));
            }
        }
        ui.print_line(&format!("── what the functions said of {id}"));
        // In the order of time.
        let mut events = BTreeSet::new();
        for function in session.workspace.function_names()? {
            for event in logs::fetch_events(stack, &function, id).await? {
                events.insert((event.timestamp, function.clone(), event.message));
            }
        }
        for (at, function, line) in events.into_iter().take(MAX_LINES_PER_ID) {
            ui.print_line(&format!("{at} {function}: {}", logs::format_line(&line)));
        }
    }
    Ok(())
}
