//! People who type: each has a channel with a project of its own, gives its agent one task after
//! another, and changes his mind about some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bematic_protocol::ids::TaskId;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::webhook::{Answer, Webhook};

/// A task of so many is cancelled.
const CANCELLED: f64 = 0.06;
/// A cancelled task of so many is tried again.
const RETRIED: f64 = 0.5;
/// How often a person repeats a command that did not work.
const REPEATS: u32 = 2;

/// What the operators know.
#[derive(Debug, Clone, Default)]
pub(super) struct Book(Arc<Mutex<Known>>);

/// What all operators of a run know together.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The tasks that they were told were made.
    pub tasks: BTreeMap<TaskId, Wishes>,
    /// Commands that make a task.
    pub asked: usize,
    /// Commands without a proper answer.
    pub unanswered: usize,
}

/// What an operator wanted of a task beside its being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// It was to be stopped.
    pub cancelled: bool,
    /// It was to be tried again.
    pub retried: bool,
}

impl Book {
    /// What is known by now.
    pub(super) fn known(&self) -> Known {
        self.lock().clone()
    }

    /// Commands that make a task, so far.
    pub(super) fn asked(&self) -> usize {
        self.lock().asked
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much an operator types.
#[derive(Debug, Clone, Copy)]
pub(super) struct Diligence {
    /// Tasks.
    pub(super) tasks: usize,
    /// The time that they are spread over.
    pub(super) over: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Run { repeats: u32 },
    Cancel(TaskId),
    Retry(TaskId),
}

/// One person.
pub(super) struct Operator {
    webhook: Webhook,
    rng: StdRng,
    book: Book,
    agenda: BTreeMap<(Timestamp, usize), Wish>,
    planned: usize,
}

impl Operator {
    /// Has all tasks in mind from the start.
    pub(super) fn new(webhook: Webhook, diligence: Diligence, rng: StdRng, book: Book) -> Self {
        let mut operator = Self {
            webhook,
            rng,
            book,
            agenda: BTreeMap::new(),
            planned: 0,
        };
        let start = SystemClock.now();
        let millis = u64::try_from(diligence.over.as_millis()).unwrap_or(u64::MAX);
        for _ in 0..diligence.tasks {
            let at = operator.rng.random_range(0..millis.max(1));
            let wish = Wish::Run { repeats: REPEATS };
            operator.plan(start + Duration::from_millis(at), wish);
        }
        operator
    }

    /// Types until nothing is left to type; falls behind where answers are slow.
    pub(super) async fn work(mut self) {
        while let Some(((at, _), wish)) = self.agenda.pop_first() {
            sleep(at.since(SystemClock.now())).await;
            match wish {
                Wish::Run { repeats } => self.run(repeats).await,
                Wish::Cancel(task) => self.cancel(task).await,
                Wish::Retry(task) => self.retry(task).await,
            }
        }
    }

    async fn run(&mut self, repeats: u32) {
        self.book.lock().asked += 1;
        let options = ["", "", "", "--priority high ", "--priority low "];
        let option = options[self.rng.random_range(0..options.len())];
        let command = format!("run {option}do number {}", self.planned);
        match self.webhook.command(&command).await {
            Answer::Task(task) => self.told_of(task),
            Answer::Other => {}
            Answer::Failed => {
                self.book.lock().unanswered += 1;
                if let Some(repeats) = repeats.checked_sub(1) {
                    self.plan_in(1000..4000, Wish::Run { repeats });
                }
            }
        }
    }

    fn told_of(&mut self, task: TaskId) {
        self.book.lock().tasks.entry(task).or_default();
        if self.rng.random_bool(CANCELLED) {
            self.plan_in(0..6000, Wish::Cancel(task));
        }
    }

    async fn cancel(&mut self, task: TaskId) {
        self.wish(task, |wishes| wishes.cancelled = true);
        self.webhook.command(&format!("cancel {task}")).await;
        if self.rng.random_bool(RETRIED) {
            self.plan_in(2000..15_000, Wish::Retry(task));
        }
    }

    async fn retry(&mut self, task: TaskId) {
        self.wish(task, |wishes| wishes.retried = true);
        self.webhook.command(&format!("retry {task}")).await;
    }

    fn wish(&self, task: TaskId, wish: impl FnOnce(&mut Wishes)) {
        wish(self.book.lock().tasks.entry(task).or_default());
    }

    fn plan_in(&mut self, millis: std::ops::Range<u64>, wish: Wish) {
        let delay = Duration::from_millis(self.rng.random_range(millis));
        self.plan(SystemClock.now() + delay, wish);
    }

    fn plan(&mut self, at: Timestamp, wish: Wish) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), wish);
    }
}
