//! A run in which one task went well, to be spoiled.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bematic::agent::Agent;
use bematic::task::{
    Completion, Failure, FailureCode, LateReport, Origin, Task, TaskPolicy, TaskSpec, TaskState,
    TerminalMessage,
};
use bematic_protocol::ids::{AgentId, TaskId};
use bematic_protocol::time::Timestamp;

use super::super::{Records, Verdict, ViolationKind, judge};
use crate::chaos::operator::AllOperatorsRecord;
use crate::chaos::system::{Snapshot, StoredTask};
use bematic_test_agent::{AgentEvent, AttemptEvent, Entry, RunKey, TerminalReport};

pub(super) const ACK: u64 = 15_000;
const TASK: &str = "0198c0de-0000-7000-8000-000000000001";

pub(super) struct RecordedRun(Records);

impl Deref for RecordedRun {
    type Target = Records;

    fn deref(&self) -> &Records {
        &self.0
    }
}

impl DerefMut for RecordedRun {
    fn deref_mut(&mut self) -> &mut Records {
        &mut self.0
    }
}

impl RecordedRun {
    /// A task that was asked for, sent, done, confirmed, stored and shown.
    pub(super) fn good() -> Self {
        let mut recorded = Self::empty();
        recorded.operators.tasks.insert(task());
        recorded.ran(1, 1000);
        recorded.ended(1, done(1), 2000);
        recorded.confirmed(1, 2100);
        let state = completed(1);
        recorded.stored(state, Some("did it 1"));
        recorded.shown(":white_check_mark: Completed in 1 s: do it");
        recorded
    }

    /// Adds a second task that went well 10 ms after the first, in its second attempt.
    pub(super) fn add_neighbour(&mut self) {
        let other: TaskId = "0198c0de-0000-7000-8000-000000000002".parse().unwrap();
        let of_other = |entry: &Entry| {
            let mut entry = entry.clone();
            entry.at = entry.at + Duration::from_millis(10);
            if let AgentEvent::Run(run, _) = &mut entry.what {
                *run = RunKey {
                    task_id: other,
                    attempt: 2.try_into().unwrap(),
                };
            }
            entry
        };
        let entries: Vec<_> = self.ledger.iter().map(of_other).collect();
        self.ledger.extend(entries);
        self.operators.tasks.insert(other);
        let mut stored = self.stored_task().clone();
        (stored.task.id, stored.task.state) = (other, completed(2));
        self.snapshot.tasks.insert(other, stored);
        let cards = self.snapshot.cards[&task()].clone();
        self.snapshot.cards.insert(other, cards);
    }

    /// The same before anything was reported: the agent works.
    pub(super) fn working() -> Self {
        let mut recorded = Self::empty();
        recorded.operators.tasks.insert(task());
        recorded.ran(1, 1000);
        recorded
    }

    fn empty() -> Self {
        Self(Records {
            ledger: Vec::new(),
            operators: AllOperatorsRecord::default(),
            snapshot: Snapshot {
                agents: vec![Agent::new(agent(), at(0))],
                ..Snapshot::default()
            },
            ack_deadline: Duration::from_millis(ACK),
            capacity: 2,
        })
    }

    pub(super) fn note(&mut self, by: AgentId, what: AgentEvent, millis: u64) {
        self.ledger.push(Entry {
            at: at(millis),
            agent: by,
            what,
        });
    }

    pub(super) fn attempt_event(&mut self, attempt: u32, event: AttemptEvent, millis: u64) {
        self.note(agent(), AgentEvent::Run(run(attempt), event), millis);
    }

    /// An attempt is sent.
    pub(super) fn offered(&mut self, attempt: u32, millis: u64) {
        let message = format!("m-{attempt}-{millis}");
        let sent_at = at(millis);
        self.attempt_event(attempt, AttemptEvent::Offered { message, sent_at }, millis);
    }

    /// An attempt is sent and begun.
    pub(super) fn ran(&mut self, attempt: u32, millis: u64) {
        self.offered(attempt, millis);
        self.attempt_event(attempt, AttemptEvent::Started, millis);
    }

    pub(super) fn ended(&mut self, attempt: u32, report: TerminalReport, millis: u64) {
        self.attempt_event(attempt, AttemptEvent::Reported(report), millis);
    }

    pub(super) fn confirmed(&mut self, attempt: u32, millis: u64) {
        self.attempt_event(attempt, AttemptEvent::Confirmed, millis);
    }

    pub(super) fn stored(&mut self, state: TaskState, result: Option<&str>) {
        let mut known = new_task();
        known.state = state;
        let stored = StoredTask {
            task: known,
            completion: result.map(completion),
            late: Vec::new(),
        };
        self.snapshot.tasks.insert(task(), stored);
    }

    pub(super) fn stored_task(&mut self) -> &mut StoredTask {
        self.snapshot.tasks.get_mut(&task()).unwrap()
    }

    pub(super) fn late(&mut self, attempt: u32, result: &str) {
        let report = LateReport {
            attempt: run(attempt).attempt,
            at: at(9000),
            outcome: TerminalMessage::Completed(Box::new(completion(result))),
        };
        self.stored_task().late.push(report);
    }

    pub(super) fn shown(&mut self, text: &str) {
        let cards = self.snapshot.cards.entry(task()).or_default();
        cards.push(text.to_owned());
    }

    pub(super) fn retried(&mut self) {
        self.operators.retried.insert(task());
    }

    pub(super) fn verdict(&self) -> Verdict {
        judge(&self.0)
    }

    /// Fails unless these are the violations.
    #[track_caller]
    pub(super) fn has_violations(&self, kinds: &[ViolationKind]) {
        let violations = self.verdict().violations;
        let found: Vec<_> = violations.iter().map(|violation| violation.kind).collect();
        assert_eq!(found, kinds, "{violations:#?}");
    }
}

pub(super) fn task() -> TaskId {
    TASK.parse().unwrap()
}

pub(super) fn agent() -> AgentId {
    "a".parse().unwrap()
}

pub(super) fn run(attempt: u32) -> RunKey {
    RunKey {
        task_id: task(),
        attempt: attempt.try_into().unwrap(),
    }
}

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

/// What the attempt reports if all goes well.
pub(super) fn done(attempt: u32) -> TerminalReport {
    TerminalReport::Completed(format!("did it {attempt}"))
}

pub(super) fn completed(attempt: u32) -> TaskState {
    TaskState::Completed {
        attempt: run(attempt).attempt,
        started_at: at(1000),
        finished_at: at(2000),
    }
}

pub(super) fn failed(attempt: u32, code: FailureCode) -> TaskState {
    TaskState::Failed {
        attempt: Some(run(attempt).attempt),
        started_at: None,
        finished_at: at(2000),
        failure: Failure::new(code, "no", true),
    }
}

pub(super) fn cancelled(attempt: u32) -> TaskState {
    TaskState::Cancelled {
        attempt: Some(run(attempt).attempt),
        started_at: None,
        finished_at: at(2000),
        by: None,
        reason: None,
    }
}

fn completion(result: &str) -> Completion {
    serde_json::from_value(serde_json::json!({
        "result": result, "inputTokens": 0, "outputTokens": 0, "estimatedCost": 0.0,
        "filesChanged": [], "commandsRun": [], "durationMs": 0,
    }))
    .unwrap()
}

fn new_task() -> Task {
    let spec = TaskSpec {
        project_id: "p".to_owned(),
        bot_name: "b".to_owned(),
        command: "run".to_owned(),
        prompt: "do it".to_owned(),
        system_prompt: String::new(),
        local_path: "/p".to_owned(),
        model: "m".to_owned(),
        max_budget: 1.0,
        allowed_tools: Vec::new(),
        lease_secs: None,
    };
    let origin = Origin {
        channel_id: "C1".parse().unwrap(),
        thread_ts: None,
        user_id: "U1".parse().unwrap(),
    };
    let policy = TaskPolicy::default();
    Task::new(task(), agent(), &spec, origin, &policy, at(0))
}
