//! The tasks that the agent holds: some run, the others wait for a slot.

use std::{collections::VecDeque, path::PathBuf};

use bematic_protocol::{ids::TaskId, messages::TaskSubmit};

use super::{seen::Seen, terminal::Why};
use crate::run_key::RunKey;

/// The tasks that the agent holds, and the answers that it gave.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) running: Vec<Running>,
    pub(super) seen: Seen,
}

/// A task that waits for a slot.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) run: RunKey,
    pub(super) submit: Box<TaskSubmit>,
    pub(super) folder: PathBuf,
}

/// A task whose command runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) run: RunKey,
    pub(super) title: String,
    next_seq: u64,
    /// Why it was asked to end, if it was.
    pub(super) stopped: Option<Why>,
}

impl Running {
    pub(super) const fn new(run: RunKey, title: String) -> Self {
        Self {
            run,
            title,
            next_seq: 0,
            stopped: None,
        }
    }
}

impl Tasks {
    /// The runs that are held: running, then waiting.
    pub(super) fn active(&self) -> impl Iterator<Item = RunKey> {
        let running = self.running.iter().map(|task| task.run);
        running.chain(self.waiting.iter().map(|task| task.run))
    }

    /// How many commands run.
    pub(super) const fn running(&self) -> usize {
        self.running.len()
    }

    /// How many tasks are before a waiting one.
    pub(super) fn position(&self, run: RunKey) -> Option<u64> {
        let waiting = self.waiting.iter().position(|task| task.run == run)?;
        Some((self.running.len() + waiting) as u64)
    }

    pub(super) fn find(&mut self, run: RunKey) -> Option<&mut Running> {
        self.running.iter_mut().find(|task| task.run == run)
    }

    /// The place of a running command's next output.
    pub(super) fn next_seq(&mut self, run: RunKey) -> Option<u64> {
        let task = self.find(run)?;
        let seq = task.next_seq;
        task.next_seq += 1;
        Some(seq)
    }

    /// Takes out a run that has ended.
    pub(super) fn end(&mut self, run: RunKey) -> Option<Running> {
        let at = self.running.iter().position(|task| task.run == run)?;
        Some(self.running.remove(at))
    }

    /// Takes out the first waiting task that may run; never beside another attempt of itself.
    pub(super) fn next_ready(&mut self) -> Option<Waiting> {
        let free = |id: TaskId| self.running.iter().all(|task| task.run.task != id);
        let at = self.waiting.iter().position(|task| free(task.run.task))?;
        self.waiting.remove(at)
    }
}
