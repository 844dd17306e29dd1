//! Tasks: accepting or refusing them, running them in order of arrival, and reporting on them.

use std::{path::PathBuf, time::Duration};

use bematic_protocol::{
    ids::Attempt,
    messages::{AgentMessage, TaskAck, TaskCancel, TaskProgress, TaskStream, TaskSubmit},
};
use tokio::time::Instant;

use super::{
    state::{Phase, Running, Session, Waiting},
    terminal::{self, Cause},
};
use crate::{
    event::{Effect, Ended, Progress, RunEvent},
    run_key::RunKey,
    text::shorten,
    ui::Notice,
};

/// Characters of a prompt that represent it on the agent's screen.
const TITLE_CHARS: usize = 80;
/// The reason for which an agent that stops refuses tasks, and hands back those not started.
const SHUTTING_DOWN: &str = "the agent is shutting down";

/// A TASK_ACK that accepts.
const fn accepted(run: RunKey, queue_position: Option<u64>) -> TaskAck {
    TaskAck {
        task_id: run.task,
        attempt: run.attempt,
        accepted: true,
        reason: None,
        retryable: true,
        spent: true,
        queue_position,
    }
}

/// A TASK_ACK that refuses. An offer that nobody has looked at is not `spent`.
fn refusal(run: RunKey, reason: String, retryable: bool, spent: bool) -> TaskAck {
    TaskAck {
        accepted: false,
        reason: Some(reason),
        retryable,
        spent,
        ..accepted(run, None)
    }
}

impl Session {
    pub(super) fn on_submit(&mut self, submit: Box<TaskSubmit>) {
        let run = RunKey::of(&submit);
        if let Some(ack) = self.tasks.acknowledged(run) {
            let queue_position = self.tasks.position(run);
            let ack = ack.clone();
            return self.send(AgentMessage::TaskAck(TaskAck {
                queue_position,
                ..ack
            }));
        }
        match self.admit(&submit) {
            Ok(folder) => self.accept(submit, folder),
            Err(ack) => self.refuse(run, ack),
        }
    }

    /// Returns the folder in which the task is to work, or the refusal.
    fn admit(&self, submit: &TaskSubmit) -> Result<PathBuf, TaskAck> {
        let run = RunKey::of(submit);
        let later = |held: &RunKey| held.task == run.task && held.attempt > run.attempt;
        if let Some(held) = self.tasks.active().find(later) {
            let attempt = held.attempt.map_or(0, Attempt::number);
            let reason = format!("attempt {attempt} of the task is already here");
            return Err(refusal(run, reason, true, true));
        }
        if self.phase != Phase::Working {
            return Err(refusal(run, SHUTTING_DOWN.to_owned(), true, false));
        }
        let slots = self.config.concurrency as usize;
        if self.tasks.active().count() >= 2 * slots {
            let reason =
                format!("all {slots} slots of the agent are taken, and as many tasks wait");
            return Err(refusal(run, reason, true, false));
        }
        let folder = self.config.workdirs.resolve(&submit.local_path);
        folder.map_err(|reason| refusal(run, reason, false, true))
    }

    fn accept(&mut self, submit: Box<TaskSubmit>, folder: PathBuf) {
        let run = RunKey::of(&submit);
        self.supersede(run);
        let title = title(&submit);
        self.tasks.waiting.push_back(Waiting {
            run,
            submit,
            folder,
        });
        let mut running = self.tasks.running.iter();
        let at_once = running.len() < self.config.concurrency as usize
            && self.tasks.waiting.len() == 1
            && running.all(|task| task.run.task != run.task);
        let queue_position = self.tasks.position(run).filter(|_| !at_once);
        let ack = accepted(run, queue_position);
        self.tasks.remember(run, ack.clone());
        self.show(Notice::TaskAccepted {
            run,
            title,
            queue_position,
        });
        self.send(AgentMessage::TaskAck(ack));
        self.start_ready();
    }

    /// Ends earlier attempts: two must not work in one folder at the same time.
    fn supersede(&mut self, by: RunKey) {
        self.tasks.waiting.retain(|task| task.run.task != by.task);
        let earlier: Vec<_> = self
            .tasks
            .active()
            .filter(|run| run.task == by.task)
            .collect();
        for run in earlier {
            let cause = Cause::Superseded(by.attempt);
            self.stop(run, cause, self.config.timings.grace);
        }
    }

    fn refuse(&mut self, run: RunKey, ack: TaskAck) {
        self.show(Notice::TaskRefused {
            run,
            reason: ack.reason.clone().unwrap_or_default(),
            retryable: ack.retryable,
        });
        self.tasks.remember(run, ack.clone());
        self.send(AgentMessage::TaskAck(ack));
    }

    /// Starts the tasks that have a slot.
    fn start_ready(&mut self) {
        while self.tasks.running.len() < self.config.concurrency as usize
            && let Some(task) = self.tasks.next_ready()
        {
            let Waiting {
                run,
                submit,
                folder,
            } = task;
            let title = title(&submit);
            self.tasks.running.push(Running {
                run,
                title: title.clone(),
                next_seq: 0,
                stopped: None,
            });
            self.show(Notice::TaskStarted { run, title });
            self.effects.push(Effect::Start { submit, folder });
        }
    }

    pub(super) fn on_cancel(&mut self, cancel: &TaskCancel, now: Instant) {
        let id = cancel.task_id;
        let held: Vec<_> = self.tasks.active().filter(|run| run.task == id).collect();
        for run in held {
            self.cancel(run, &cancel.reason);
        }
        // The terminal message of a task that has ended stays as it is. About a task that is not
        // here nothing can be reported: its submission may still be on its way.
        self.outbox.resend_now(id, now);
    }

    fn cancel(&mut self, run: RunKey, reason: &str) {
        let at = self.tasks.waiting.iter().position(|task| task.run == run);
        if let Some(task) = at.and_then(|at| self.tasks.waiting.remove(at)) {
            let message = terminal::cancelled(run, reason);
            self.report_end(run, title(&task.submit), message, Duration::ZERO);
        } else if self
            .tasks
            .find(run)
            .is_some_and(|task| task.stopped.is_none())
        {
            // The cloud repeats itself, which gives no more time.
            let cause = Cause::Cancelled(reason.to_owned());
            self.stop(run, cause, self.config.timings.grace);
        }
    }

    /// Ends a running command; the first cause counts.
    fn stop(&mut self, run: RunKey, cause: Cause, grace: Duration) {
        if let Some(task) = self.tasks.find(run) {
            task.stopped.get_or_insert(cause);
            self.effects.push(Effect::Stop { run, grace });
        }
    }

    /// Ends every running command, because the agent stops.
    pub(super) fn stop_all(&mut self, grace: Duration) {
        let running: Vec<_> = self.tasks.running.iter().map(|task| task.run).collect();
        for run in running {
            self.stop(run, Cause::Shutdown, grace);
        }
    }

    /// Hands the tasks that have not started back to the cloud.
    pub(super) fn hand_back(&mut self) {
        for Waiting { run, .. } in std::mem::take(&mut self.tasks.waiting) {
            self.refuse(run, refusal(run, SHUTTING_DOWN.to_owned(), true, false));
        }
    }

    pub(super) fn on_run(&mut self, run: RunKey, event: RunEvent) {
        match event {
            RunEvent::Output(delta) => self.on_output(run, delta),
            RunEvent::Progress(progress) => self.on_progress(run, progress),
            RunEvent::Warning(message) => self.warn(format!("{run}: {message}")),
            RunEvent::Ended(ended) => self.on_ended(run, *ended),
        }
    }

    fn on_output(&mut self, run: RunKey, delta: String) {
        let Some(task) = self.tasks.find(run) else {
            return;
        };
        let seq = task.next_seq;
        task.next_seq += 1;
        self.send(AgentMessage::TaskStream(TaskStream {
            task_id: run.task,
            attempt: run.attempt,
            delta,
            seq: Some(seq),
            timestamp: Some(self.clock.now()),
        }));
    }

    fn on_progress(&mut self, run: RunKey, progress: Progress) {
        self.show(Notice::TaskProgress {
            run,
            percent: progress.percent,
            step: progress.steps.last().or(progress.message.as_ref()).cloned(),
        });
        self.send(AgentMessage::TaskProgress(TaskProgress {
            task_id: run.task,
            attempt: run.attempt,
            progress: progress.percent,
            message: progress.message,
            steps: (!progress.steps.is_empty()).then_some(progress.steps),
            kind: progress.kind,
            timestamp: Some(self.clock.now()),
        }));
    }

    fn on_ended(&mut self, run: RunKey, ended: Ended) {
        let Some(at) = self.tasks.running.iter().position(|task| task.run == run) else {
            return;
        };
        let task = self.tasks.running.remove(at);
        let duration = ended.duration;
        let message = terminal::message(run, task.stopped.as_ref(), ended);
        self.report_end(run, task.title, message, duration);
        self.start_ready();
    }

    /// Shows the end of a run, and sends its terminal message.
    fn report_end(
        &mut self,
        run: RunKey,
        title: String,
        message: AgentMessage,
        duration: Duration,
    ) {
        let (status, reason) = terminal::outcome(&message);
        self.show(Notice::TaskEnded {
            run,
            title,
            status,
            reason,
            duration,
        });
        self.send(message);
    }
}

/// The beginning of a prompt, in one line.
fn title(submit: &TaskSubmit) -> String {
    let line = submit.prompt.trim().lines().next().unwrap_or_default();
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    shorten(&clean, TITLE_CHARS)
}

#[cfg(test)]
mod tests {
    use bematic_protocol::ids::TaskId;

    use super::super::state::{REMEMBERED, Tasks};
    use super::*;

    fn run(number: u128) -> RunKey {
        RunKey {
            task: TaskId::new(uuid::Uuid::from_u128(number)),
            attempt: None,
        }
    }

    #[test]
    fn the_latest_acknowledgements_are_remembered_and_the_oldest_forgotten() {
        let mut tasks = Tasks::default();
        for number in 0..=REMEMBERED as u128 {
            tasks.remember(run(number), accepted(run(number), None));
        }
        assert_eq!(tasks.acknowledged(run(0)), None);
        assert_eq!(tasks.acknowledged(run(1)), Some(&accepted(run(1), None)));
        assert_eq!(tasks.acks.len(), REMEMBERED);
    }

    #[test]
    fn the_last_of_two_acknowledgements_of_a_run_counts() {
        let mut tasks = Tasks::default();
        let refused = refusal(run(0), "handed back".to_owned(), true, false);
        for (number, ack) in [
            (0, accepted(run(0), None)),
            (1, accepted(run(1), None)),
            (0, refused.clone()),
        ] {
            tasks.remember(run(number), ack);
        }
        assert_eq!(tasks.acks.len(), 2);
        assert_eq!(tasks.acknowledged(run(0)), Some(&refused));
        assert_eq!(tasks.acks.back().unwrap().1, refused);
    }
}
