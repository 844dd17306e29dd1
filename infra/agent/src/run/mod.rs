//! One run of the command: its process, its output, its end.

#![expect(
    clippy::disallowed_methods,
    reason = "the process of a run is real, and so is its time"
)]

mod environment;
mod pipe;
mod process;
mod report;

use std::{future::pending, io, path::PathBuf, process::ExitStatus, sync::Arc, time::Duration};

use bematic_protocol::messages::TaskSubmit;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

pub use self::process::CommandLine;
use self::{pipe::Pipe, process::Process, report::Report};
use crate::{
    backoff::due,
    config::Config,
    event::{Ended, Outcome, RunEvent},
    progress_line::{Lines, Piece, Summary},
    run_key::RunKey,
    text::Tail,
};

/// Bytes of standard output that are the result if none was declared.
const RESULT_TAIL: usize = 2000;
/// Bytes of standard error that an error message holds.
const ERROR_TAIL: usize = 4 * 1024;
/// Time that pipes may stay open after the command has ended (a process it left behind has them).
const LINGER: Duration = Duration::from_secs(2);

/// A task to run.
pub(crate) struct Job {
    pub(crate) submit: Box<TaskSubmit>,
    /// The folder to run in.
    pub(crate) folder: PathBuf,
    /// The agent's configuration, with the command.
    pub(crate) config: Arc<Config>,
}

/// The channel for the events of runs. It is bounded: when it is full, commands wait at their
/// pipes.
pub(crate) type Events = mpsc::Sender<(RunKey, RunEvent)>;

/// Runs the command to its end, and reports it. `stop` holds the time between asking the command to
/// end and forcing it, as soon as the command is to end.
pub(crate) async fn run(job: Job, stop: watch::Receiver<Option<Duration>>, events: Events) {
    let key = RunKey::of(&job.submit);
    let started = Instant::now();
    let mut ended = match Process::start(&job.config.command, &job.submit, &job.folder) {
        Ok(process) => {
            Running::new(process, job.config.timings.flush)
                .until_end(key, stop, &events)
                .await
        }
        Err(sentence) => Ended::from(Outcome::NotStarted(sentence)),
    };
    ended.duration = started.elapsed();
    // The event is lost only when the agent itself exits at once.
    let _received = events.send((key, RunEvent::Ended(Box::new(ended)))).await;
}

/// A running command.
struct Running {
    process: Process,
    output: Pipe,
    error: Pipe,
    lines: Lines,
    report: Report,
    summary: Summary,
    output_tail: Tail,
    error_tail: Tail,
    flush_after: Duration,
    flush_at: Option<Instant>,
    status: Option<io::Result<ExitStatus>>,
    stopped: bool,
    /// The last requested time between asking and forcing.
    grace: Option<Duration>,
    kill_at: Option<Instant>,
    give_up_at: Option<Instant>,
}

impl Running {
    fn new(mut process: Process, flush_after: Duration) -> Self {
        Self {
            output: Pipe::new(process.child.stdout.take()),
            error: Pipe::new(process.child.stderr.take()),
            process,
            lines: Lines::default(),
            report: Report::default(),
            summary: Summary::default(),
            output_tail: Tail::new(RESULT_TAIL),
            error_tail: Tail::new(ERROR_TAIL),
            flush_after,
            flush_at: None,
            status: None,
            stopped: false,
            grace: None,
            kill_at: None,
            give_up_at: None,
        }
    }

    async fn until_end(
        mut self,
        key: RunKey,
        mut stop: watch::Receiver<Option<Duration>>,
        events: &Events,
    ) -> Ended {
        while !self.is_over() {
            // Nothing is read while an event waits for room.
            let may_read = self.report.ready.is_empty();
            tokio::select! {
                room = events.reserve(), if !may_read => match (room, self.report.ready.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send((key, event)),
                    // The agent itself exits at once.
                    _ => break,
                },
                read = self.output.read(), if may_read => self.on_output(&read),
                read = self.error.read(), if may_read => self.on_error(&read),
                status = self.process.child.wait(), if self.status.is_none() => {
                    self.status = Some(status);
                    let give_up_at = self.give_up_at.or(self.kill_at);
                    self.give_up_at = give_up_at.or(Some(Instant::now() + LINGER));
                }
                () = due(self.flush_at) => self.flush(),
                grace = requested(&mut stop, self.grace) => self.stop(grace),
                () = due(self.kill_at) => {
                    self.kill_at = None;
                    self.process.group.kill();
                    self.give_up_at = Some(Instant::now() + LINGER);
                }
                () = due(self.give_up_at) => self.give_up(),
            }
        }
        Ended {
            summary: self.summary,
            output_tail: self.output_tail.text().to_owned(),
            error_tail: self.error_tail.text().to_owned(),
            ..Ended::from(process::outcome(self.stopped, self.status))
        }
    }

    fn is_over(&self) -> bool {
        let reported = self.report.ready.is_empty() && self.report.is_empty();
        self.status.is_some() && self.pipes_have_ended() && reported
    }

    const fn pipes_have_ended(&self) -> bool {
        self.output.reader.is_none() && self.error.reader.is_none()
    }

    fn on_output(&mut self, read: &io::Result<usize>) {
        let text = self.output.text(read);
        let mut pieces = self.lines.push(&text);
        if self.output.reader.is_none() {
            pieces.extend(self.lines.finish());
        }
        for piece in pieces {
            self.add_piece(piece);
        }
        self.schedule_flush();
    }

    fn on_error(&mut self, read: &io::Result<usize>) {
        let text = self.error.text(read);
        self.error_tail.push(&text);
        self.report.output(&text);
        self.schedule_flush();
    }

    fn add_piece(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => self.add_text(&text),
            Piece::Declared(declared) => {
                self.report.declare(&declared);
                self.summary.merge(declared.summary);
            }
            Piece::Malformed { line, reason } => {
                let warning = format!("a '::bematic' line is passed on as output: {reason}");
                self.report.ready.push_back(RunEvent::Warning(warning));
                self.add_text(&line);
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        self.output_tail.push(text);
        self.report.output(text);
    }

    /// Reports the new output soon, or at once when there will be no more.
    fn schedule_flush(&mut self) {
        if self.pipes_have_ended() {
            self.flush();
        } else if self.flush_at.is_none() && !self.report.is_empty() {
            self.flush_at = Some(Instant::now() + self.flush_after);
        }
    }

    fn flush(&mut self) {
        self.flush_at = None;
        self.report.flush();
    }

    /// Asks the command to end; one that has already ended was not stopped.
    fn stop(&mut self, grace: Duration) {
        self.grace = Some(grace);
        self.stopped |= self.status.is_none();
        self.process.group.terminate();
        self.kill_at = Some(Instant::now() + grace);
        self.give_up_at = self.give_up_at.and(self.kill_at);
    }

    /// Kills the processes that outlive the command, and takes the pipes as ended.
    fn give_up(&mut self) {
        self.give_up_at = None;
        self.kill_at = None;
        self.process.group.kill();
        self.on_output(&Ok(0));
        self.on_error(&Ok(0));
    }
}

/// Waits until the run is to end, or with another grace than `known`; for ever if that
/// can no longer be requested.
async fn requested(
    stop: &mut watch::Receiver<Option<Duration>>,
    known: Option<Duration>,
) -> Duration {
    let request = stop.wait_for(|grace| grace.is_some() && *grace != known);
    match request.await.map(|grace| *grace) {
        Ok(Some(grace)) => grace,
        _ => pending().await,
    }
}
