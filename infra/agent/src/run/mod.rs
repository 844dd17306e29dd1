//! One run of the command: its process, its output, its end.

#![expect(
    clippy::disallowed_methods,
    reason = "the process of a run is real, and so is its time"
)]

mod environment;
pub(crate) mod event;
mod launch;
mod pipe;
mod process;
mod user;

use std::{fmt, io, mem, path::PathBuf, process::ExitStatus, sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::TaskSubmit,
};
use nix::sys::signal::Signal;
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{event::EventBuffer, pipe::Pipe, process::Process};
pub(crate) use self::{
    event::{EndedRun, RunEvent},
    process::Outcome,
};
pub use self::{
    launch::launch,
    process::CommandLine,
    user::{LAUNCH_ARGUMENT, RunAs},
};
use crate::{
    backoff::sleep_until_deadline,
    config::Config,
    progress_line::{OutputSegment, ProgressLineExtractor, ResultFields, line_prefix},
    text::Tail,
};

/// Bytes of standard output that are the result if none was declared.
const RESULT_TAIL_BYTES: usize = 2000;
/// Bytes of standard error that an error message holds.
const ERROR_TAIL_BYTES: usize = 4 * 1024;
/// The warning to the agent's owner, once a run, about lines that any printed file may contain.
const PLAIN_LINES_WARNING: &str = "a line that begins with '::bematic ' is passed on as output, because \
    a file that the command prints could hold it; let the command print $BEMATIC_LINE_PREFIX in place of \
    '::bematic', or start the agent with --accept-plain-lines";
/// Time that pipes may stay open after the command has ended (a process it left behind has them).
const PIPE_LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The identity of a run: an attempt of a task. Clouds older than attempts name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct RunKey {
    /// The task.
    #[serde(rename = "taskId")]
    pub task: TaskId,
    /// The attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

impl RunKey {
    pub(crate) const fn of(submit: &TaskSubmit) -> Self {
        Self {
            task: submit.task_id,
            attempt: submit.attempt,
        }
    }
}

impl fmt::Display for RunKey {
    /// Writes the random end of the task's id: ids made in the same minute begin alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.task.to_string();
        f.write_str(id.get(id.len().saturating_sub(8)..).unwrap_or(&id))
    }
}

/// Runs the command for a task to its end, and reports it. `nonce` is part of the prefix of the
/// command's progress lines; no text that was there before the run may hold it. `stop` holds the
/// time between asking the command to end and forcing it, as soon as the command is to end.
/// `events` is bounded: when it is full, commands wait at their pipes.
pub(crate) async fn run(
    config: Arc<Config>,
    submit: Box<TaskSubmit>,
    folder: PathBuf,
    nonce: String,
    stop: watch::Receiver<Option<Duration>>,
    events: mpsc::Sender<(RunKey, RunEvent)>,
) {
    let key = RunKey::of(&submit);
    let started = Instant::now();
    let prefix = line_prefix(&nonce);
    let mut ended = match Process::start(
        &config.command,
        config.run_as.as_ref(),
        &submit,
        &folder,
        &prefix,
    ) {
        Ok(process) => {
            let lines = ProgressLineExtractor::new(&prefix, config.accept_plain_lines);
            let running = RunningCommand::new(process, lines, config.timings.flush);
            running.run_until_end(key, stop, &events).await
        }
        Err(sentence) => EndedRun {
            outcome: Outcome::NotStarted(sentence),
            ..EndedRun::default()
        },
    };
    ended.duration = started.elapsed();
    // The event is lost only when the agent itself exits at once.
    let _received = events.send((key, RunEvent::Ended(Box::new(ended)))).await;
}

struct RunningCommand {
    process: Process,
    stdout: Pipe,
    stderr: Pipe,
    lines: ProgressLineExtractor,
    has_warned_of_plain_lines: bool,
    buffer: EventBuffer,
    summary: ResultFields,
    output_tail: Tail<RESULT_TAIL_BYTES>,
    error_tail: Tail<ERROR_TAIL_BYTES>,
    flush_after: Duration,
    flush_at: Option<Instant>,
    status: Option<io::Result<ExitStatus>>,
    stopped: bool,
    kill_at: Option<Instant>,
    give_up_at: Option<Instant>,
}

impl RunningCommand {
    fn new(mut process: Process, lines: ProgressLineExtractor, flush_after: Duration) -> Self {
        Self {
            stdout: Pipe::new(process.child.stdout.take()),
            stderr: Pipe::new(process.child.stderr.take()),
            process,
            lines,
            has_warned_of_plain_lines: false,
            buffer: EventBuffer::default(),
            summary: ResultFields::default(),
            output_tail: Tail::default(),
            error_tail: Tail::default(),
            flush_after,
            flush_at: None,
            status: None,
            stopped: false,
            kill_at: None,
            give_up_at: None,
        }
    }

    async fn run_until_end(
        mut self,
        key: RunKey,
        mut stop: watch::Receiver<Option<Duration>>,
        events: &mpsc::Sender<(RunKey, RunEvent)>,
    ) -> EndedRun {
        while self.status.is_none() || !self.pipes_have_ended() || !self.buffer.is_empty() {
            // Nothing is read while an event waits for room.
            let may_read = self.buffer.ready.is_empty();
            tokio::select! {
                room = events.reserve(), if !may_read => match (room, self.buffer.ready.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send((key, event)),
                    // The agent itself exits at once.
                    _ => break,
                },
                text = self.stdout.read_chunk(), if may_read => self.on_stdout(&text),
                text = self.stderr.read_chunk(), if may_read => self.on_stderr(&text),
                status = self.process.child.wait(), if self.status.is_none() => {
                    self.status = Some(status);
                    let give_up_at = self.give_up_at.or(self.kill_at);
                    self.give_up_at = give_up_at.or(Some(Instant::now() + PIPE_LINGER_TIMEOUT));
                }
                () = sleep_until_deadline(self.flush_at) => self.flush(),
                Ok(()) = stop.changed() => {
                    let grace = *stop.borrow_and_update();
                    self.stop(grace.unwrap_or_default());
                }
                () = sleep_until_deadline(self.kill_at) => {
                    self.kill_at = None;
                    self.process.group.signal(Signal::SIGKILL);
                    self.give_up_at = Some(Instant::now() + PIPE_LINGER_TIMEOUT);
                }
                () = sleep_until_deadline(self.give_up_at) => self.kill_and_close_pipes(),
            }
        }
        EndedRun {
            outcome: process::outcome(self.stopped, self.status),
            summary: self.summary,
            output_tail: self.output_tail.text().to_owned(),
            error_tail: self.error_tail.text().to_owned(),
            duration: Duration::ZERO,
        }
    }

    const fn pipes_have_ended(&self) -> bool {
        self.stdout.reader.is_none() && self.stderr.reader.is_none()
    }

    fn on_stdout(&mut self, text: &str) {
        let mut segments = self.lines.push(text);
        if self.stdout.reader.is_none() {
            segments.extend(self.lines.finish());
        }
        for segment in segments {
            let text = match segment {
                OutputSegment::Text(text) => text,
                OutputSegment::ProgressLine(line) => {
                    self.buffer.add_progress(&line);
                    self.summary.merge(line.summary);
                    continue;
                }
                OutputSegment::Malformed { line, reason } => {
                    self.warn(format!(
                        "a '::bematic' line is passed on as output: {reason}"
                    ));
                    line
                }
                OutputSegment::PlainLine(text) => {
                    if !mem::replace(&mut self.has_warned_of_plain_lines, true) {
                        self.warn(PLAIN_LINES_WARNING.to_owned());
                    }
                    text
                }
            };
            self.output_tail.push(&text);
            self.buffer.add_output(&text);
        }
        self.schedule_flush();
    }

    fn warn(&mut self, message: String) {
        self.buffer.ready.push_back(RunEvent::Warning(message));
    }

    fn on_stderr(&mut self, text: &str) {
        self.error_tail.push(text);
        self.buffer.add_output(text);
        self.schedule_flush();
    }

    /// Reports the new output soon, or at once when there will be no more.
    fn schedule_flush(&mut self) {
        if self.pipes_have_ended() {
            self.flush();
        } else if self.flush_at.is_none() && self.buffer.has_unflushed() {
            self.flush_at = Some(Instant::now() + self.flush_after);
        }
    }

    fn flush(&mut self) {
        self.flush_at = None;
        self.buffer.flush();
    }

    /// Asks the command to end; one that has already ended was not stopped.
    fn stop(&mut self, grace: Duration) {
        self.stopped |= self.status.is_none();
        self.process.group.signal(Signal::SIGTERM);
        self.kill_at = Some(Instant::now() + grace);
        self.give_up_at = self.give_up_at.and(self.kill_at);
    }

    /// Kills the processes that outlive the command, and takes the pipes as ended.
    fn kill_and_close_pipes(&mut self) {
        self.give_up_at = None;
        self.kill_at = None;
        self.process.group.signal(Signal::SIGKILL);
        let (output, error) = (self.stdout.close(), self.stderr.close());
        self.on_stdout(&output);
        self.on_stderr(&error);
    }
}
