//! What the parts of the agent tell each other.

use std::{path::PathBuf, time::Duration};

use bematic_protocol::messages::{CloudMessage, Envelope, StepKind, TaskSubmit};

use crate::{progress_line::Summary, run_key::RunKey, ui::Notice};

/// What the connection reports.
#[derive(Debug)]
pub enum LinkEvent {
    /// A connection attempt begins.
    Connecting,
    /// A connection is ready. Where there was one already, this one takes its place; what still
    /// comes over the older one is reported as before, and its end is not.
    Up {
        /// After which time it is to be replaced.
        renew_in: Duration,
    },
    /// [`Effect::Renew`] failed; the connection there is goes on.
    NotRenewed {
        /// Why.
        reason: String,
        /// After which time to try again.
        retry_in: Duration,
    },
    /// A message came.
    Message(Box<Envelope<CloudMessage>>),
    /// API Gateway says that some message's function failed, in these words.
    GatewayError(String),
    /// Something came that is no message; the text says what is wrong.
    Unreadable(String),
    /// The connection is gone.
    Down {
        /// Why.
        reason: String,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// The cloud does not know this agent or its key; there is no next attempt.
    Refused(String),
}

/// What a run reports, in order; [`RunEvent::Ended`] is its last word.
#[derive(Debug)]
pub enum RunEvent {
    /// Output, small enough for one message.
    Output(String),
    /// Progress, small enough for one message.
    Progress(Progress),
    /// Something that its owner should know of.
    Warning(String),
    /// It is over, and so is every process of it.
    Ended(Box<Ended>),
}

/// Progress lines since the last report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Percent, 0 to 100.
    pub percent: Option<f64>,
    /// What is going on now.
    pub message: Option<String>,
    /// What was done, all of one kind.
    pub steps: Vec<String>,
    /// That kind.
    pub kind: StepKind,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// How its command ended.
    pub outcome: Outcome,
    /// What it declared of itself.
    pub summary: Summary,
    /// The end of its standard output.
    pub output_tail: String,
    /// The end of its standard error.
    pub error_tail: String,
    /// How long it took.
    pub duration: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With exit code 0.
    Succeeded,
    /// With another exit code, or by a signal nobody here sent; in words.
    Failed(String),
    /// It could not be started; the sentence says what to do.
    NotStarted(String),
    /// It was stopped because the session asked for it.
    Stopped,
}

/// What the session wants done.
#[derive(Debug)]
pub enum Effect {
    /// Run the command for a task.
    Start {
        /// The task.
        submit: Box<TaskSubmit>,
        /// The folder, checked.
        folder: PathBuf,
    },
    /// End a run: ask, wait for `grace`, force.
    Stop {
        /// The run.
        run: RunKey,
        /// How long to wait between asking and forcing.
        grace: Duration,
    },
    /// Give up this connection; a new one will be made.
    Reconnect,
    /// Open a new connection beside this one.
    Renew,
    /// Tell a person.
    Tell(Notice),
    /// Close the connection and end.
    Exit(Ending),
}

/// Why the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to, and everything is settled.
    Stopped,
    /// The cloud asked for a new start.
    Restart,
    /// The cloud does not accept its key.
    Refused,
}

impl Ending {
    /// The process's exit code. 75 is `EX_TEMPFAIL` of sysexits.h: "try again", for a supervisor.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Refused => 3,
            Self::Restart => 75,
        }
    }
}
