//! What an agent of a run decides: no I/O, no clock but the `now` that it is given.
//!
//! It behaves as the protocol asks and works with nothing: a task takes it a moment, says something
//! meanwhile, and ends one way or another. What it may remember after it was killed is its
//! [`Disk`]; all else is gone with it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bematic::task::Slot;
use bematic_protocol::ids::{AgentId, TaskId};
use bematic_protocol::time::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::disk::Disk;
use super::temper::Temper;
use super::wire::{self, Heard, about};
use crate::chaos::ledger::{Deed, Ledger, Report, What};

/// How often it says that it is there, and which tasks it has.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How long it waits for a report to be confirmed before it sends it again.
const RESEND: Duration = Duration::from_secs(5);

/// What is to be done at some time.
#[derive(Debug, Clone, Copy)]
enum Due {
    Progress(Slot),
    Output(Slot),
    End(Slot),
    Heartbeat,
    Resend,
}

/// An agent.
#[derive(Debug)]
pub(super) struct Core {
    id: AgentId,
    capacity: usize,
    temper: Temper,
    rng: StdRng,
    ledger: Ledger,
    disk: Disk,
    /// The attempts that it works on, by task.
    running: HashMap<TaskId, Slot>,
    agenda: BTreeMap<(Timestamp, u64), Due>,
    /// Things put on the agenda so far: two of one time are done in order.
    planned: u64,
    /// The time of the newest message: two of one millisecond have no order.
    last: Timestamp,
}

impl Core {
    pub(super) fn new(
        id: AgentId,
        capacity: usize,
        temper: Temper,
        seed: u64,
        ledger: Ledger,
        now: Timestamp,
    ) -> Self {
        let mut core = Self {
            id,
            capacity,
            temper,
            rng: StdRng::seed_from_u64(seed),
            ledger,
            disk: Disk::default(),
            running: HashMap::new(),
            agenda: BTreeMap::new(),
            planned: 0,
            last: now,
        };
        core.boot(now);
        core
    }

    /// Whether it has nothing to do and nothing to tell.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.disk.is_quiet()
    }

    /// When it has something to do next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// What it says on a new connection: who it is and what it has, then all that may not have
    /// been heard.
    pub(super) fn connected(&mut self, now: Timestamp) -> Vec<String> {
        self.note(now, What::Connected);
        let mut said = vec![self.status(now)];
        let running: Vec<_> = self.running.values().copied().collect();
        said.extend(running.into_iter().map(|run| self.acknowledge(run, now)));
        said.extend(self.disk.overdue(now, Duration::ZERO));
        said
    }

    /// Its connection is no more; its work goes on.
    pub(super) fn disconnected(&mut self, now: Timestamp) {
        self.note(now, What::Disconnected);
    }

    /// Its process dies and starts again: what it worked on is lost.
    pub(super) fn killed(&mut self, now: Timestamp) {
        for run in std::mem::take(&mut self.running).into_values() {
            self.deed(now, run, Deed::Died);
        }
        self.agenda.clear();
        self.boot(now);
    }

    /// What it answers to what it heard.
    pub(super) fn heard(&mut self, heard: Heard, now: Timestamp) -> Vec<String> {
        match heard {
            Heard::Submit {
                run,
                message,
                sent_at,
            } => {
                self.deed(now, run, Deed::Offered { message, sent_at });
                self.offered(run, now)
            }
            Heard::Cancel(task) => self.told_to_stop(task, now).into_iter().collect(),
            Heard::Confirmed(message) => {
                if let Some(run) = self.disk.confirmed(&message) {
                    self.deed(now, run, Deed::Confirmed);
                }
                Vec::new()
            }
            Heard::Ping(at) => vec![self.pong(at, now)],
            Heard::Other => Vec::new(),
        }
    }

    /// What it says because its time has come.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<String> {
        let later = self.agenda.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut self.agenda, later);
        due.into_values()
            .flat_map(|due| self.act(due, now))
            .collect()
    }

    fn act(&mut self, due: Due, now: Timestamp) -> Vec<String> {
        match due {
            Due::Progress(run) if self.works_on(run) => {
                let step = about(run, json!({ "progress": 50, "steps": ["half way"] }));
                vec![self.message("TASK_PROGRESS", &step, now)]
            }
            Due::Output(run) if self.works_on(run) => {
                let delta = about(run, json!({ "delta": format!("{run}\n"), "seq": 0 }));
                vec![self.message("TASK_STREAM", &delta, now)]
            }
            Due::End(run) if self.works_on(run) => {
                let report = if self.chance(self.temper.fail) {
                    Report::Failed
                } else {
                    Report::Completed(format!("did {run} at {}", self.id))
                };
                vec![self.end(run, report, now)]
            }
            Due::Progress(_) | Due::Output(_) | Due::End(_) => Vec::new(),
            Due::Heartbeat => {
                self.plan(now + HEARTBEAT, Due::Heartbeat);
                let tasks: Vec<_> = self.running.keys().collect();
                let ping = json!({ "tasks": tasks });
                vec![self.message("HEARTBEAT_PING", &ping, now)]
            }
            Due::Resend => {
                self.plan(now + RESEND, Due::Resend);
                self.disk.overdue(now, RESEND)
            }
        }
    }

    fn boot(&mut self, now: Timestamp) {
        self.plan(now + HEARTBEAT, Due::Heartbeat);
        self.plan(now + RESEND, Due::Resend);
    }

    /// An attempt runs once, however often it arrives; a newer one ends the one before.
    fn offered(&mut self, run: Slot, now: Timestamp) -> Vec<String> {
        if self.works_on(run) {
            return vec![self.acknowledge(run, now)];
        }
        let other = self.running.get(&run.task_id).copied();
        let outdated = other.is_some_and(|other| other.attempt > run.attempt);
        if outdated || self.disk.has_seen(run) {
            return Vec::new();
        }
        let mut said = Vec::new();
        said.extend(other.map(|earlier| self.end(earlier, Report::Cancelled, now)));
        if self.running.len() >= self.capacity {
            said.push(self.refuse(run, "full", false, now));
        } else if self.chance(self.temper.refuse) {
            said.push(self.refuse(run, "not in the mood", true, now));
        } else {
            self.start(run, now);
            let heard = !self.chance(self.temper.mute);
            said.extend(heard.then(|| self.acknowledge(run, now)));
        }
        said
    }

    /// The ledger is told here, by the work itself: it does not know what was decided before.
    fn start(&mut self, run: Slot, now: Timestamp) {
        self.disk.note_seen(run);
        self.running.insert(run.task_id, run);
        self.deed(now, run, Deed::Started);
        let millis = if self.chance(self.temper.long) {
            self.temper.long_work.clone()
        } else {
            self.temper.work.clone()
        };
        let whole = self.rng.random_range(millis);
        if self.chance(self.temper.talk) {
            self.plan(now + Duration::from_millis(whole / 3), Due::Progress(run));
            self.plan(now + Duration::from_millis(whole / 2), Due::Output(run));
        }
        self.plan(now + Duration::from_millis(whole), Due::End(run));
    }

    fn refuse(&mut self, run: Slot, reason: &str, spent: bool, now: Timestamp) -> String {
        self.disk.note_seen(run);
        self.deed(now, run, Deed::Refused);
        let refusal = json!({ "accepted": false, "reason": reason, "spent": spent });
        self.message("TASK_ACK", &about(run, refusal), now)
    }

    fn acknowledge(&mut self, run: Slot, now: Timestamp) -> String {
        self.message("TASK_ACK", &about(run, json!({ "accepted": true })), now)
    }

    fn told_to_stop(&mut self, task: TaskId, now: Timestamp) -> Option<String> {
        let run = self.running.get(&task).copied()?;
        let stops = !self.chance(self.temper.work_on);
        stops.then(|| self.end(run, Report::Cancelled, now))
    }

    /// Work ends, and is reported until that is confirmed.
    fn end(&mut self, run: Slot, report: Report, now: Timestamp) -> String {
        self.running.remove(&run.task_id);
        let (kind, fields) = match &report {
            Report::Completed(result) => ("TASK_COMPLETE", json!({ "result": result })),
            Report::Failed => ("TASK_ERROR", json!({ "error": "it went wrong" })),
            Report::Cancelled => ("TASK_CANCELLED", json!({ "reason": "stopped" })),
        };
        self.deed(now, run, Deed::Reported(report));
        let text = self.message(kind, &about(run, fields), now);
        let id = self.message_id();
        self.disk.keep(id, run, text.clone(), now);
        text
    }

    fn status(&mut self, now: Timestamp) -> String {
        let tasks: Vec<_> = self.running.keys().collect();
        let status = json!({
            "agentId": self.id, "status": "online", "activeTasks": tasks,
            "capacity": self.capacity, "version": "chaos",
        });
        self.message("AGENT_STATUS", &status, now)
    }

    fn pong(&mut self, server_time: Timestamp, now: Timestamp) -> String {
        let tasks: Vec<_> = self.running.keys().collect();
        let pong = json!({
            "agentId": self.id, "serverTime": server_time, "activeTasks": tasks.len(),
            "cpuUsage": 0.1, "memoryUsage": 0.1, "tasks": tasks,
        });
        self.message("HEARTBEAT_PONG", &pong, now)
    }

    fn message(&mut self, kind: &str, payload: &Value, now: Timestamp) -> String {
        self.disk.written += 1;
        self.last = now.max(self.last + Duration::from_millis(1));
        wire::write(&self.message_id(), kind, payload, self.last)
    }

    /// The id of the newest message.
    fn message_id(&self) -> String {
        format!("{}-{}", self.id, self.disk.written)
    }

    fn works_on(&self, run: Slot) -> bool {
        self.running.get(&run.task_id) == Some(&run)
    }

    fn plan(&mut self, at: Timestamp, due: Due) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), due);
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn deed(&self, now: Timestamp, run: Slot, deed: Deed) {
        self.note(now, What::Run(run, deed));
    }

    fn note(&self, now: Timestamp, what: What) {
        self.ledger.write(now, &self.id, what);
    }
}

#[cfg(test)]
mod tests;
