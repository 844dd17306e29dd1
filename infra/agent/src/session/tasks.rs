//! Taking tasks, running them in order of arrival, and reporting on them.

use std::path::PathBuf;

use bematic_protocol::{
    ids::Attempt,
    messages::{AgentMessage, TaskAck, TaskCancel, TaskSubmit},
};
use tokio::time::Instant;

use super::{
    held::{Running, Waiting},
    seen::{Answer, Next},
    state::Session,
    terminal::{self, Why},
};
use crate::{event::Effect, run_key::RunKey, text::shorten, ui::Notice};

/// Characters of a prompt that stand for it on the agent's screen.
const TITLE_CHARS: usize = 80;
/// Why an agent that stops does not take tasks, and hands back what has not started.
const SHUTTING_DOWN: &str = "the agent is shutting down";

impl Session {
    pub(super) fn on_submit(&mut self, submit: Box<TaskSubmit>) {
        let run = RunKey::of(&submit);
        if let Some(answer) = self.tasks.seen.answer(run).cloned() {
            return self.acknowledge(run, &answer);
        }
        match self.admit(&submit) {
            Ok(folder) => self.accept(submit, folder),
            Err((reason, next)) => self.refuse(run, reason, next),
        }
    }

    /// Where the task is to work, or why not and what may become of it.
    fn admit(&self, submit: &TaskSubmit) -> Result<PathBuf, (String, Next)> {
        let run = RunKey::of(submit);
        let later = |held: &RunKey| held.task == run.task && held.attempt > run.attempt;
        if let Some(held) = self.tasks.active().find(later) {
            let attempt = held.attempt.map_or(0, Attempt::number);
            return Err((
                format!("attempt {attempt} of the task is already here"),
                Next::Again,
            ));
        }
        if !self.phase.takes_tasks() {
            return Err((SHUTTING_DOWN.to_owned(), Next::Untouched));
        }
        let slots = self.settings.concurrency as usize;
        if self.tasks.active().count() >= 2 * slots {
            return Err((
                format!("all {slots} slots of the agent are taken, and as many tasks wait"),
                Next::Untouched,
            ));
        }
        let folder = self.settings.workdirs.resolve(&submit.local_path);
        folder.map_err(|refused| (refused.to_string(), Next::Never))
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
        self.tasks.seen.remember(run, Answer::Accepted);
        let at_once = self.tasks.running() < self.settings.concurrency as usize
            && self.tasks.waiting.len() == 1
            && self
                .tasks
                .running
                .iter()
                .all(|task| task.run.task != run.task);
        let queue_position = self.tasks.position(run).filter(|_| !at_once);
        self.tell(Notice::TaskAccepted {
            run,
            title,
            queue_position,
        });
        self.send_ack(run, &Answer::Accepted, queue_position);
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
            self.stop(
                run,
                Why::Superseded(by.attempt),
                self.settings.timings.grace,
            );
        }
    }

    fn refuse(&mut self, run: RunKey, reason: String, next: Next) {
        self.tell(Notice::TaskRefused {
            run,
            reason: reason.clone(),
            retryable: next.is_retryable(),
        });
        let answer = Answer::Refused { reason, next };
        self.tasks.seen.remember(run, answer.clone());
        self.acknowledge(run, &answer);
    }

    fn acknowledge(&mut self, run: RunKey, answer: &Answer) {
        let position = self.tasks.position(run);
        self.send_ack(run, answer, position);
    }

    fn send_ack(&mut self, run: RunKey, answer: &Answer, queue_position: Option<u64>) {
        let (reason, next) = match answer {
            Answer::Accepted => (None, Next::Again),
            Answer::Refused { reason, next } => (Some(reason.clone()), *next),
        };
        let ack = AgentMessage::TaskAck(TaskAck {
            task_id: run.task,
            attempt: run.attempt,
            accepted: *answer == Answer::Accepted,
            reason,
            retryable: next.is_retryable(),
            spent: next != Next::Untouched,
            queue_position,
        });
        self.send_urgently(ack, Some(run));
    }

    /// Starts what has a slot.
    pub(super) fn start_ready(&mut self) {
        while self.tasks.running() < self.settings.concurrency as usize {
            let Some(task) = self.tasks.next_ready() else {
                return;
            };
            let title = title(&task.submit);
            let running = Running::new(task.run, title.clone());
            self.tasks.running.push(running);
            self.tell(Notice::TaskStarted {
                run: task.run,
                title,
            });
            self.effects.push_back(Effect::Start {
                submit: task.submit,
                folder: task.folder,
            });
        }
    }

    pub(super) fn on_cancel(&mut self, cancel: &TaskCancel, now: Instant) {
        let id = cancel.task_id;
        let held: Vec<_> = self.tasks.active().filter(|run| run.task == id).collect();
        for run in &held {
            self.cancel(*run, &cancel.reason);
        }
        // One that has ended stays as it ended. Of one that is not here nothing can be said: its
        // submission may still be on its way.
        self.outbox.resend_now(id, now);
    }

    fn cancel(&mut self, run: RunKey, reason: &str) {
        let grace = self.settings.timings.grace;
        let Some(at) = self.tasks.waiting.iter().position(|task| task.run == run) else {
            // The cloud repeats itself, which gives no more time.
            if self
                .tasks
                .find(run)
                .is_some_and(|task| task.stopped.is_none())
            {
                self.stop(run, Why::Cancelled(reason.to_owned()), grace);
            }
            return;
        };
        let task = self.tasks.waiting.remove(at);
        let title = task.map_or_else(String::new, |task| title(&task.submit));
        let message = terminal::cancelled(run, reason);
        self.tell(terminal::notice(
            run,
            title,
            &message,
            std::time::Duration::ZERO,
        ));
        self.send(message, Some(run));
    }

    /// Ends a running command; the first reason counts.
    pub(super) fn stop(&mut self, run: RunKey, why: Why, grace: std::time::Duration) {
        if let Some(task) = self.tasks.find(run) {
            task.stopped.get_or_insert(why);
            self.effects.push_back(Effect::Stop { run, grace });
        }
    }

    /// Ends every running command, because the agent ends.
    pub(super) fn stop_all(&mut self, grace: std::time::Duration) {
        let running: Vec<_> = self.tasks.running.iter().map(|task| task.run).collect();
        for run in running {
            self.stop(run, Why::Shutdown, grace);
        }
    }

    /// Gives what has not started back to the cloud.
    pub(super) fn hand_back(&mut self) {
        for task in std::mem::take(&mut self.tasks.waiting) {
            self.refuse(task.run, SHUTTING_DOWN.to_owned(), Next::Untouched);
        }
    }
}

/// The beginning of a prompt, in one line.
fn title(submit: &TaskSubmit) -> String {
    let line = submit.prompt.trim().lines().next().unwrap_or_default();
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    shorten(&clean, TITLE_CHARS)
}
