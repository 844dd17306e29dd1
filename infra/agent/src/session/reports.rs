//! Passing on what the runs report.

use bematic_protocol::messages::{AgentMessage, TaskProgress, TaskStream};

use super::{state::Session, terminal};
use crate::{
    event::{Ended, Progress, RunEvent},
    run_key::RunKey,
    ui::Notice,
};

impl Session {
    pub(super) fn on_run(&mut self, run: RunKey, event: RunEvent) {
        match event {
            RunEvent::Output(delta) => self.on_output(run, delta),
            RunEvent::Progress(progress) => self.on_progress(run, progress),
            RunEvent::Warning(message) => self.warn(format!("{run}: {message}")),
            RunEvent::Ended(ended) => self.on_ended(run, *ended),
        }
    }

    fn on_output(&mut self, run: RunKey, delta: String) {
        let Some(seq) = self.tasks.next_seq(run) else {
            return;
        };
        let stream = TaskStream {
            task_id: run.task,
            attempt: run.attempt,
            delta,
            seq: Some(seq),
            timestamp: Some(self.clock.now()),
        };
        self.send(AgentMessage::TaskStream(stream), Some(run));
    }

    fn on_progress(&mut self, run: RunKey, progress: Progress) {
        self.tell(Notice::TaskProgress {
            run,
            percent: progress.percent,
            step: progress.steps.last().or(progress.message.as_ref()).cloned(),
        });
        let message = AgentMessage::TaskProgress(TaskProgress {
            task_id: run.task,
            attempt: run.attempt,
            progress: progress.percent,
            message: progress.message,
            steps: (!progress.steps.is_empty()).then_some(progress.steps),
            kind: progress.kind,
            timestamp: Some(self.clock.now()),
        });
        self.send(message, Some(run));
    }

    fn on_ended(&mut self, run: RunKey, ended: Ended) {
        let Some(task) = self.tasks.end(run) else {
            return;
        };
        let duration = ended.duration;
        let message = terminal::message(run, task.stopped.as_ref(), ended);
        self.tell(terminal::notice(run, task.title, &message, duration));
        self.send(message, Some(run));
        self.start_ready();
    }
}
