//! The report of a run: a table for a person, JSON for machines.

use std::fmt;

use serde::Serialize;
use strum::VariantArray as _;

use super::verdict::{Charge, Verdict};
use crate::edge::CallCounts;

/// Offences that are named.
const NAMED: usize = 25;

/// A run and its verdict.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) agents: usize,
    pub(super) concurrency: usize,
    /// The time that the run was disturbed.
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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        writeln!(
            f,
            "\nSeed {}: {} agents that take {} tasks at once, disturbed for {}, at rest after {}\n",
            self.seed,
            self.agents,
            self.concurrency,
            seconds(self.disturbed_ms),
            seconds(self.whole_ms),
        )?;
        self.tasks(f)?;
        for charge in Charge::VARIANTS {
            let count = verdict.count(*charge);
            let note = if count == 0 { "" } else { "must be 0" };
            row(f, charge.into(), count, note)?;
        }
        self.times(f)?;
        self.offences(f)
    }
}

impl Report {
    fn tasks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        let told = format!(
            "of which operators were told of {}; {} commands had no proper answer",
            verdict.confirmed, self.unanswered
        );
        row(f, "tasks submitted", verdict.submitted, &told)?;
        row(f, "completed", verdict.completed, "")?;
        row(f, "cancelled", verdict.cancelled, "")?;
        let causes: Vec<_> = verdict
            .failed
            .iter()
            .map(|(cause, count)| format!("{count} {cause}"))
            .collect();
        let failed: usize = verdict.failed.values().sum();
        row(f, "failed", failed, &causes.join(", "))?;
        let attempts = format!(
            "{} ended with their agent, {} repeated one that was not acknowledged in time",
            verdict.died, verdict.repeated
        );
        row(f, "attempts begun", verdict.started, &attempts)?;
        let note = "the others were left to the calm, when the queues drain";
        row(f, "ended while disturbed", self.ended_disturbed, note)?;
        row(f, "tasks with a late report", verdict.late, "")?;
        row(f, "breakers that opened", verdict.opened, "")?;
        writeln!(f)
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = &self.verdict.reconnects;
        let note = format!(
            "half within {}, 95 % within {}, all within {}; {} were cut off before",
            seconds(times.p50),
            seconds(times.p95),
            seconds(times.max),
            times.cut_short,
        );
        writeln!(f)?;
        row(f, "reconnected and drained", times.drained, &note)?;
        let note = format!("of {}", self.calls.made);
        row(f, "calls to AWS that failed", self.calls.failed, &note)
    }

    fn offences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offences = &self.verdict.offences;
        if !offences.is_empty() {
            writeln!(f)?;
        }
        for offence in offences.iter().take(NAMED) {
            let charge: &str = offence.charge.into();
            writeln!(f, "  {charge}: {}: {}", offence.about, offence.why)?;
        }
        match offences.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}

fn row(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    count: impl fmt::Display,
    note: &str,
) -> fmt::Result {
    let row = format!("  {what:<26}{count:>7}   {note}");
    writeln!(f, "{}", row.trim_end())
}

fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}
