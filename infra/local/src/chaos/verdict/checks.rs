//! The checks of every attempt, task and agent.

use bematic::agent::Agent;
use bematic::breaker::{Breaker, State};
use bematic::task::{FailureCode, Slot, TaskState, TerminalMessage};
use bematic_protocol::ids::{Attempt, TaskId};
use bematic_test_agent::{RunKey, TerminalReport};

use super::records::ViolationKind::{
    self, BreakerWrong, CardDoubled, Lost, RunTwice, SlotLeaked, Stuck,
};
use super::records::{AttemptHistories, AttemptHistory, Records, Violation, successive_attempts};

/// The checks of a run, and the violations found so far.
pub(super) struct Checks<'a> {
    pub(super) records: &'a Records,
    pub(super) histories: &'a AttemptHistories,
    pub(super) violations: Vec<Violation>,
}

impl Checks<'_> {
    /// Checks everything, and returns the violations, sorted by kind.
    pub(super) fn check_all(mut self) -> Vec<Violation> {
        self.check_attempts();
        self.check_tasks();
        self.check_agents();
        self.violations.sort_by_key(|violation| violation.kind);
        self.violations
    }

    fn violate(&mut self, kind: ViolationKind, about: &impl ToString, why: impl Into<String>) {
        self.violations.push(Violation {
            kind,
            about: about.to_string(),
            why: why.into(),
        });
    }

    /// Checks every attempt: no work was done or handed out twice, and its report is in the store.
    fn check_attempts(&mut self) {
        for (run, history) in self.histories {
            if history.started.len() > 1 {
                let by: Vec<_> = history.started.iter().map(ToString::to_string).collect();
                let why = format!("it was begun {} times, by {}", by.len(), by.join(", "));
                self.violate(RunTwice, run, why);
            }
            if let Some(confirmed) = history.confirmed_at
                && history.offers.values().any(|sent| *sent > confirmed)
            {
                let why = "it was sent again after its end was confirmed";
                self.violate(RunTwice, run, why);
            }
            if let Some(report) = &history.report {
                if history.confirmed_at.is_none() {
                    let why = "its agent reports how it ended over and over, and is not confirmed";
                    self.violate(Stuck, run, why);
                } else if let Some(why) = self.why_report_is_lost(*run, report) {
                    self.violate(Lost, run, why);
                }
            }
        }
        for (run, earlier, later) in successive_attempts(self.histories) {
            if !earlier.refused
                && !self.is_retried(run)
                && let Some(why) = self
                    .why_sent_too_early(earlier, later)
                    .or_else(|| self.why_sent_after_end(run, earlier, later))
            {
                self.violate(RunTwice, &run, why);
            }
        }
    }

    /// Counts the attempts that were begun after an earlier one of the task without an operator's command:
    /// the acknowledgement of the earlier one did not get through in time.
    pub(super) fn count_reruns_without_command(&self) -> usize {
        let begun_again = successive_attempts(self.histories).filter(|(run, earlier, later)| {
            !earlier.started.is_empty() && !later.started.is_empty() && !self.is_retried(*run)
        });
        begun_again.count()
    }

    /// Whether an operator had the task tried again.
    fn is_retried(&self, run: RunKey) -> bool {
        self.records.operators.retried.contains(&run.task_id)
    }

    /// Returns why it is wrong if the next attempt was sent while this one was at work and could still be acknowledged.
    fn why_sent_too_early(
        &self,
        earlier: &AttemptHistory,
        later: &AttemptHistory,
    ) -> Option<String> {
        let after = later
            .first_offer_sent_at()?
            .since(earlier.first_offer_sent_at()?);
        (!earlier.started.is_empty() && after < self.records.ack_deadline).then(|| {
            format!(
                "it was at work, and the next attempt was sent {} ms after it, when it could still \
                 be acknowledged",
                after.as_millis()
            )
        })
    }

    /// Returns why it is wrong if the next attempt was sent although this one had ended the task.
    fn why_sent_after_end(
        &self,
        run: RunKey,
        earlier: &AttemptHistory,
        later: &AttemptHistory,
    ) -> Option<String> {
        let (confirmed, sent) = (earlier.confirmed_at?, later.first_offer_sent_at()?);
        let stored = self.records.snapshot.tasks.get(&run.task_id)?;
        let was_late = stored.late.iter().any(|late| late.attempt == run.attempt);
        let why = "its end was confirmed as the task's, and yet another attempt was sent";
        (sent > confirmed && !was_late).then(|| why.to_owned())
    }

    /// Returns what is wrong if a report that was confirmed to the agent is not in the store: neither as the task's end by this
    /// attempt, nor as a late report, nor replaced after an operator's retry.
    fn why_report_is_lost(&self, run: RunKey, report: &TerminalReport) -> Option<String> {
        let Some(stored) = self.records.snapshot.tasks.get(&run.task_id) else {
            return Some("an agent ran it, and the store does not have it".to_owned());
        };
        let state = &stored.task.state;
        let mut late = stored.late.iter().filter(|it| it.attempt == run.attempt);
        let is_overwritten = self.is_retried(run)
            && (!state.is_terminal() || state.last_attempt() > Some(run.attempt));
        let (ended, is_kept) = match report {
            TerminalReport::Completed(result) => {
                let kept = stored.completion.as_ref();
                let is_end = matches!(state, TaskState::Completed { attempt, .. }
                    if *attempt == run.attempt && kept.is_some_and(|it| it.result == *result));
                let is_late = late.any(|it| {
                    matches!(&it.outcome, TerminalMessage::Completed(late) if late.result == *result)
                });
                ("completed", is_end || is_late)
            }
            TerminalReport::Failed => {
                let is_end = matches!(state, TaskState::Failed { attempt, failure, .. }
                    if *attempt == Some(run.attempt) && failure.code == FailureCode::AgentError);
                ("failed", is_end || is_overwritten || late.next().is_some())
            }
            TerminalReport::Cancelled => {
                let is_end = matches!(state, TaskState::Cancelled { .. });
                let is_kept = is_end || is_overwritten || late.next().is_some();
                ("cancelled", is_kept)
            }
        };
        (!is_kept).then(|| {
            format!(
                "it was reported as {ended} and confirmed; the store has neither that, nor that it \
                 came late: it says {} after attempt {}",
                state.name(),
                state.last_attempt().map_or(0, Attempt::number)
            )
        })
    }

    /// Checks every task: it is in the store, it is over, and it has one message in Slack that says how.
    fn check_tasks(&mut self) {
        let snapshot = &self.records.snapshot;
        for task in &self.records.operators.tasks {
            if !snapshot.tasks.contains_key(task) {
                let why = "an operator was told of it, and the store does not have it";
                self.violate(Lost, task, why);
            }
        }
        for (id, stored) in &snapshot.tasks {
            let state = &stored.task.state;
            let status = match state {
                TaskState::Completed { .. } => "Completed",
                TaskState::Failed { .. } => "Failed",
                TaskState::Cancelled { .. } => "Cancelled",
                _ => {
                    let why = format!("it is {} and nothing more happens", state.name());
                    self.violate(Stuck, id, why);
                    continue;
                }
            };
            let cards = snapshot.cards.get(id).map_or(&[][..], Vec::as_slice);
            // A notification begins with an emoji and the status.
            let has_status = |card: &String| {
                let words = card.split_once(' ').map(|(_, words)| words);
                words.is_some_and(|words| words.starts_with(status))
            };
            if !cards.iter().any(has_status) {
                let shown = match cards.first() {
                    Some(card) => format!("Slack shows {card:?}"),
                    None => "Slack has no message of it".to_owned(),
                };
                self.violate(Lost, id, format!("it is {}, and {shown}", state.name()));
            }
            if let Some(why) = self.ended_by_an_earlier_attempt(*id, state) {
                self.violate(RunTwice, id, why);
            }
        }
        for (id, cards) in &snapshot.cards {
            if cards.len() > 1 {
                let why = format!("it has {} messages in Slack", cards.len());
                self.violate(CardDoubled, id, why);
            }
        }
    }

    /// The task was ended by another attempt than the newest.
    fn ended_by_an_earlier_attempt(&self, task_id: TaskId, state: &TaskState) -> Option<String> {
        let attempt = match state {
            TaskState::Completed { attempt, .. } => *attempt,
            TaskState::Failed {
                attempt, failure, ..
            } if failure.code == FailureCode::AgentError => (*attempt)?,
            _ => return None,
        };
        let newest = self
            .histories
            .range(RunKey { task_id, attempt }..)
            .map_while(|(run, _)| (run.task_id == task_id).then_some(run.attempt))
            .last()?;
        (newest > attempt)
            .then(|| format!("attempt {attempt} ended it, though attempt {newest} had been sent"))
    }

    /// Checks every agent: its slots are taken by its attempts alone, and its breaker is right.
    fn check_agents(&mut self) {
        let records = self.records;
        for agent in &records.snapshot.agents {
            for slot in agent
                .held
                .iter()
                .filter(|slot| !slot_matches_task(records, slot))
            {
                let why = format!("a slot is still taken by {slot}, which is not at the agent");
                self.violate(SlotLeaked, &agent.id, why);
            }
            if let Some(breaker) = records.snapshot.breakers.get(&agent.id) {
                self.check_breaker(agent, breaker);
            }
        }
    }

    fn check_breaker(&mut self, agent: &Agent, breaker: &Breaker) {
        let records = self.records;
        // With enough leaked permits, no probe would ever be sent again.
        if let State::HalfOpen { permits, .. } = &breaker.state {
            for permit in permits
                .iter()
                .filter(|it| !slot_matches_task(records, &it.id))
            {
                let id = &permit.id;
                let why =
                    format!("its breaker waits for the probe {id}, which is not at the agent");
                self.violate(BreakerWrong, &agent.id, why);
            }
        }
        let tasks = records.snapshot.tasks.values();
        let attempts = tasks.filter_map(|stored| stored.task.last_attempt_of(&agent.id));
        let attempts: u32 = attempts.map(Attempt::number).sum();
        let outcomes = breaker.window.kept_outcomes().count();
        if u32::try_from(outcomes).unwrap_or(u32::MAX) > attempts {
            let why =
                format!("its breaker counted {outcomes} outcomes of at most {attempts} attempts");
            self.violate(BreakerWrong, &agent.id, why);
        }
        let (record, gate) = (agent.gate, breaker.gate());
        if record != gate {
            let why = format!("its record says {record:?}, and its breaker {gate:?}");
            self.violate(BreakerWrong, &agent.id, why);
        }
    }
}

/// Whether a slot, or a breaker's permit, is that of the attempt that holds its task.
fn slot_matches_task(records: &Records, slot: &str) -> bool {
    slot.parse::<Slot>().is_ok_and(|slot| {
        let stored = records.snapshot.tasks.get(&slot.task_id);
        stored.is_some_and(|stored| stored.task.state.held_attempt() == Some(slot.attempt))
    })
}
