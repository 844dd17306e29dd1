//! The operators: each has a channel with a project of its own, creates one task after another there, and
//! cancels some and has some of those tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bematic_protocol::ids::TaskId;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::webhook::{Answer, Webhook};

/// The probability that an operator cancels a task.
const CANCELLED: f64 = 0.06;
/// The probability that an operator retries a cancelled task.
const RETRIED: f64 = 0.5;
/// The number of times that an operator repeats a command that failed.
const REPEATS: u32 = 2;

/// The record, as all operators of a run write it. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedRecord(Arc<Mutex<OperatorRecord>>);

/// The answers and actions of all operators of a run.
#[derive(Debug, Clone, Default)]
pub struct OperatorRecord {
    /// The tasks of which the answer said that they were created.
    pub tasks: BTreeSet<TaskId>,
    /// The tasks that an operator had tried again.
    pub retried: BTreeSet<TaskId>,
    /// Commands that create a task.
    pub asked: usize,
    /// Commands without a proper answer.
    pub unanswered: usize,
}

impl SharedRecord {
    pub(super) fn lock(&self) -> MutexGuard<'_, OperatorRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Run { repeats: u32 },
    Cancel(TaskId),
    Retry(TaskId),
}

/// An operator.
pub(super) struct Operator {
    webhook: Webhook,
    rng: StdRng,
    record: SharedRecord,
    agenda: BTreeMap<(Timestamp, usize), Action>,
    planned: usize,
}

impl Operator {
    /// Returns an operator who creates so many tasks in the course of this time.
    pub(super) fn new(
        webhook: Webhook,
        tasks: usize,
        over: Duration,
        rng: StdRng,
        record: SharedRecord,
    ) -> Self {
        let mut operator = Self {
            webhook,
            rng,
            record,
            agenda: BTreeMap::new(),
            planned: 0,
        };
        let start = SystemClock.now();
        let millis = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        for _ in 0..tasks {
            let at = operator.rng.random_range(0..millis.max(1));
            let action = Action::Run { repeats: REPEATS };
            operator.plan(start + Duration::from_millis(at), action);
        }
        operator
    }

    /// Types all commands; falls behind where answers are slow.
    pub(super) async fn work(mut self) {
        while let Some(((at, _), action)) = self.agenda.pop_first() {
            sleep(at.since(SystemClock.now())).await;
            match action {
                Action::Run { repeats } => self.run(repeats).await,
                Action::Cancel(task) => self.cancel(task).await,
                Action::Retry(task) => self.retry(task).await,
            }
        }
    }

    async fn run(&mut self, repeats: u32) {
        self.record.lock().asked += 1;
        let options = ["", "", "", "--priority high ", "--priority low "];
        let option = options[self.rng.random_range(0..options.len())];
        let command = format!("run {option}do number {}", self.planned);
        match self.webhook.command(&command).await {
            Answer::Task(task) => self.note_task(task),
            Answer::Other => {}
            Answer::Failed => {
                self.record.lock().unanswered += 1;
                if let Some(repeats) = repeats.checked_sub(1) {
                    self.plan_in(1000..4000, Action::Run { repeats });
                }
            }
        }
    }

    fn note_task(&mut self, task: TaskId) {
        self.record.lock().tasks.insert(task);
        if self.rng.random_bool(CANCELLED) {
            self.plan_in(0..6000, Action::Cancel(task));
        }
    }

    async fn cancel(&mut self, task: TaskId) {
        self.webhook.command(&format!("cancel {task}")).await;
        if self.rng.random_bool(RETRIED) {
            self.plan_in(2000..15_000, Action::Retry(task));
        }
    }

    async fn retry(&mut self, task: TaskId) {
        self.record.lock().retried.insert(task);
        self.webhook.command(&format!("retry {task}")).await;
    }

    fn plan_in(&mut self, millis: std::ops::Range<u64>, action: Action) {
        let delay = Duration::from_millis(self.rng.random_range(millis));
        self.plan(SystemClock.now() + delay, action);
    }

    fn plan(&mut self, at: Timestamp, action: Action) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), action);
    }
}
