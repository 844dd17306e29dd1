//! The ledger sorted by what it is about.

use std::collections::BTreeMap;

use bematic_protocol::ids::{AgentId, Attempt, TaskId};
use bematic_protocol::time::Timestamp;
use bematic_test_agent::Run;

use bematic_test_agent::{Deed, Entry, Report, What};

/// What became of every attempt.
#[derive(Debug, Default)]
pub(super) struct Histories(BTreeMap<TaskId, BTreeMap<Attempt, History>>);

/// What became of one attempt.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The messages that it was offered by, and when each was sent.
    pub(super) offers: BTreeMap<String, Timestamp>,
    /// Who began it.
    pub(super) started: Vec<AgentId>,
    pub(super) refused: bool,
    pub(super) died: bool,
    pub(super) report: Option<Report>,
    pub(super) confirmed_at: Option<Timestamp>,
}

impl History {
    /// When it was sent first.
    pub(super) fn sent_at(&self) -> Option<Timestamp> {
        self.offers.values().min().copied()
    }

    fn add(&mut self, entry: &Entry, deed: &Deed) {
        match deed {
            Deed::Offered { message, sent_at } => {
                self.offers.insert(message.clone(), *sent_at);
            }
            Deed::Refused => self.refused = true,
            Deed::Started => self.started.push(entry.agent.clone()),
            Deed::Reported(report) => self.report = Some(report.clone()),
            Deed::Died => self.died = true,
            Deed::Confirmed => self.confirmed_at = self.confirmed_at.or(Some(entry.at)),
        }
    }
}

impl Histories {
    pub(super) fn of(ledger: &[Entry]) -> Self {
        let mut histories = Self::default();
        for entry in ledger {
            if let What::Run(run, deed) = &entry.what {
                let attempts = histories.0.entry(run.task_id).or_default();
                attempts.entry(run.attempt).or_default().add(entry, deed);
            }
        }
        histories
    }

    /// Every attempt.
    pub(super) fn all(&self) -> impl Iterator<Item = (Run, &History)> {
        self.0.iter().flat_map(|(task, attempts)| {
            attempts.iter().map(|(attempt, history)| {
                let run = Run {
                    task_id: *task,
                    attempt: *attempt,
                };
                (run, history)
            })
        })
    }

    /// Every attempt with the one that came after it.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Run, &History, &History)> {
        self.all().filter_map(|(run, history)| {
            let next = self.0.get(&run.task_id)?;
            let (_, later) = next.range(Attempt::after(run.attempt.number())..).next()?;
            Some((run, history, later))
        })
    }

    /// The newest attempt of a task that was sent.
    pub(super) fn newest(&self, task: TaskId) -> Option<Attempt> {
        let attempts = self.0.get(&task)?;
        attempts.keys().next_back().copied()
    }
}
