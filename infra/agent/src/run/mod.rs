//! One run of the command: its process, its output, its end.

#![expect(
    clippy::disallowed_methods,
    reason = "the process of a run is real, and so is its time"
)]

mod environment;
mod outcome;
mod pipe;
mod process;
mod report;

use std::{collections::VecDeque, io, path::PathBuf, process::ExitStatus, time::Duration};

use bematic_protocol::messages::TaskSubmit;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

pub use self::process::{BadCommand, CommandLine};
use self::{outcome::outcome, pipe::Pipe, process::Process, report::Report};
use crate::{
    event::{Ended, Outcome, RunEvent},
    progress_line::{Lines, Piece, Summary},
    run_key::RunKey,
    text::Tail,
};

/// Bytes of standard output that stand for a result that was not declared.
const RESULT_TAIL: usize = 2000;
/// Bytes of standard error that an error message holds.
const ERROR_TAIL: usize = 4 * 1024;
/// How long pipes may stay open after the command has ended (a process it left behind has them).
const LINGER: Duration = Duration::from_secs(2);

/// What to run.
pub struct Job {
    /// The task.
    pub submit: Box<TaskSubmit>,
    /// The folder to run in.
    pub folder: PathBuf,
    /// The command.
    pub command: CommandLine,
    /// How long output may wait for more of it, to go in one message.
    pub flush_after: Duration,
}

/// Where a run's events go. It is bounded: when nobody takes them, the command waits at its pipes.
pub type Events = mpsc::Sender<(RunKey, RunEvent)>;

/// Runs the command to its end and reports it. `stop` holds the time to wait between asking the
/// command to end and forcing it, as soon as it is to end.
pub async fn run(job: Job, stop: watch::Receiver<Option<Duration>>, events: Events) {
    let key = RunKey::of(&job.submit);
    let started = Instant::now();
    let (outcome, heard) = match Process::start(&job.command, &job.submit, &job.folder) {
        Ok(process) => {
            Running::new(process, job.flush_after)
                .until_end(key, stop, &events)
                .await
        }
        Err(sentence) => (Outcome::NotStarted(sentence), Heard::default()),
    };
    let ended = Ended {
        outcome,
        summary: heard.summary,
        output_tail: heard.output_tail.text().to_owned(),
        error_tail: heard.error_tail.text().to_owned(),
        duration: started.elapsed(),
    };
    // Nobody listens only when the agent itself ends at once.
    let _ending = events.send((key, RunEvent::Ended(Box::new(ended)))).await;
}

/// What a command has said so far, beyond what is reported.
struct Heard {
    summary: Summary,
    output_tail: Tail,
    error_tail: Tail,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            summary: Summary::default(),
            output_tail: Tail::new(RESULT_TAIL),
            error_tail: Tail::new(ERROR_TAIL),
        }
    }
}

/// What a running command waits for.
enum Step<'a> {
    Output(io::Result<usize>),
    Error(io::Result<usize>),
    Exited(io::Result<ExitStatus>),
    Room(Result<mpsc::Permit<'a, (RunKey, RunEvent)>, mpsc::error::SendError<()>>),
    Flush,
    Stop(Duration),
    Kill,
    GiveUp,
}

/// A running command.
struct Running {
    process: Process,
    output: Pipe,
    error: Pipe,
    lines: Lines,
    report: Report,
    heard: Heard,
    /// Reports that wait for room; nothing is read meanwhile.
    waiting: VecDeque<RunEvent>,
    flush_after: Duration,
    flush_at: Option<Instant>,
    status: Option<io::Result<ExitStatus>>,
    stopped: bool,
    /// The last asked-for time between asking and forcing.
    grace: Option<Duration>,
    kill_at: Option<Instant>,
    give_up_at: Option<Instant>,
    unheard: bool,
}

impl Running {
    fn new(mut process: Process, flush_after: Duration) -> Self {
        Self {
            output: Pipe::new(process.child.stdout.take()),
            error: Pipe::new(process.child.stderr.take()),
            process,
            lines: Lines::default(),
            report: Report::default(),
            heard: Heard::default(),
            waiting: VecDeque::new(),
            flush_after,
            flush_at: None,
            status: None,
            stopped: false,
            grace: None,
            kill_at: None,
            give_up_at: None,
            unheard: false,
        }
    }

    async fn until_end(
        mut self,
        key: RunKey,
        mut stop: watch::Receiver<Option<Duration>>,
        events: &Events,
    ) -> (Outcome, Heard) {
        while !self.is_over() {
            match self.step(&mut stop, events).await {
                Step::Room(Ok(permit)) => {
                    if let Some(event) = self.waiting.pop_front() {
                        permit.send((key, event));
                    }
                }
                Step::Room(Err(_)) => self.unheard = true,
                other => self.apply(other),
            }
        }
        let outcome = outcome(self.stopped, self.status);
        (outcome, self.heard)
    }

    fn is_over(&self) -> bool {
        let silent = self.output.reader.is_none() && self.error.reader.is_none();
        let told = self.waiting.is_empty() && self.report.is_empty();
        self.unheard || (self.status.is_some() && silent && told)
    }

    async fn step<'a>(
        &mut self,
        stop: &mut watch::Receiver<Option<Duration>>,
        events: &'a Events,
    ) -> Step<'a> {
        let may_read = self.waiting.is_empty();
        tokio::select! {
            room = events.reserve(), if !may_read => Step::Room(room),
            read = self.output.read(), if may_read => Step::Output(read),
            read = self.error.read(), if may_read => Step::Error(read),
            status = self.process.child.wait(), if self.status.is_none() => Step::Exited(status),
            () = at(self.flush_at) => Step::Flush,
            grace = asked(stop, self.grace) => Step::Stop(grace),
            () = at(self.kill_at) => Step::Kill,
            () = at(self.give_up_at) => Step::GiveUp,
        }
    }

    fn apply(&mut self, step: Step<'_>) {
        match step {
            Step::Output(read) => self.hear_output(&read),
            Step::Error(read) => self.hear_error(&read),
            Step::Exited(status) => {
                self.status = Some(status);
                self.give_up_at = self
                    .give_up_at
                    .or(self.kill_at)
                    .or(Some(Instant::now() + LINGER));
            }
            Step::Flush => self.flush(),
            Step::Stop(grace) => self.stop(grace),
            Step::Kill => self.kill(),
            Step::GiveUp => self.give_up(),
            Step::Room(_) => {}
        }
    }

    fn hear_output(&mut self, read: &io::Result<usize>) {
        let text = self.output.text(read);
        let mut pieces = self.lines.push(&text);
        if self.output.reader.is_none() {
            pieces.extend(self.lines.finish());
        }
        for piece in pieces {
            self.hear_piece(piece);
        }
        self.heard_something();
    }

    fn hear_piece(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => self.hear_text(&text),
            Piece::Declared(declared) => {
                self.waiting.extend(self.report.declare(&declared));
                self.heard.summary.merge(declared.summary);
            }
            Piece::Malformed { line, reason } => {
                let warning = format!("a '::bematic' line is passed on as output: {reason}");
                self.waiting.push_back(RunEvent::Warning(warning));
                self.hear_text(&line);
            }
        }
    }

    fn hear_text(&mut self, text: &str) {
        self.heard.output_tail.push(text);
        self.waiting.extend(self.report.output(text));
    }

    fn hear_error(&mut self, read: &io::Result<usize>) {
        let text = self.error.text(read);
        self.heard.error_tail.push(&text);
        self.waiting.extend(self.report.output(&text));
        self.heard_something();
    }

    /// What was heard is reported soon, or at once when there will be no more.
    fn heard_something(&mut self) {
        if self.output.reader.is_none() && self.error.reader.is_none() {
            self.flush();
        } else if self.flush_at.is_none() && !self.report.is_empty() {
            self.flush_at = Some(Instant::now() + self.flush_after);
        }
    }

    fn flush(&mut self) {
        self.flush_at = None;
        self.waiting.extend(self.report.flush());
    }

    /// Asks the command to end; one that has already ended was not stopped.
    fn stop(&mut self, grace: Duration) {
        self.grace = Some(grace);
        self.stopped |= self.status.is_none();
        self.process.group.terminate();
        self.kill_at = Some(Instant::now() + grace);
        self.give_up_at = self.give_up_at.and(self.kill_at);
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.process.group.kill();
        self.give_up_at = Some(Instant::now() + LINGER);
    }

    /// Stops listening to processes that outlive the command.
    fn give_up(&mut self) {
        self.give_up_at = None;
        self.kill_at = None;
        self.process.group.kill();
        for text in [self.output.decoder.finish(), self.error.decoder.finish()] {
            self.hear_text(&text);
        }
        self.output.reader = None;
        self.error.reader = None;
        for piece in self.lines.finish() {
            self.hear_piece(piece);
        }
        self.flush();
    }
}

/// Waits until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits until the run is to end, or otherwise than `known`; for ever if nobody can say so any more.
async fn asked(stop: &mut watch::Receiver<Option<Duration>>, known: Option<Duration>) -> Duration {
    let asked = stop.wait_for(|asked| asked.is_some() && *asked != known);
    let grace = asked.await.map(|grace| *grace);
    match grace {
        Ok(Some(grace)) => grace,
        _ => std::future::pending().await,
    }
}
