//! The events and effects that the parts of the agent exchange.

use std::{path::PathBuf, time::Duration};

use bematic_protocol::messages::{CloudMessage, Envelope, StepKind, TaskSubmit};

use crate::{progress_line::Summary, run_key::RunKey, ui::Notice};

/// An event of the connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Connecting,
    /// A connection is ready, in place of an older one if there was one. Messages that still come
    /// over the older one are reported as before, and its end is not.
    Up {
        /// The time after which the connection is to be replaced.
        renew_in: Duration,
    },
    /// [`Effect::Renew`] failed; the present connection goes on.
    NotRenewed {
        reason: String,
        /// The time after which to try again.
        retry_in: Duration,
    },
    Message(Box<Envelope<CloudMessage>>),
    /// API Gateway's error that some message's function failed.
    GatewayError(String),
    /// A text that is no message, with the reason.
    Unreadable(String),
    /// The connection is gone.
    Down {
        reason: String,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The cloud does not know this agent or its key; there is no next attempt.
    Refused(String),
}

/// An event of a run, in order; [`RunEvent::Ended`] is the last.
#[derive(Debug)]
pub(crate) enum RunEvent {
    /// Output, small enough for one message.
    Output(String),
    /// Progress, small enough for one message.
    Progress(Progress),
    /// A warning to the agent's owner.
    Warning(String),
    /// The run has ended, and so has every process of it.
    Ended(Box<Ended>),
}

/// The content of the progress lines since the last progress report.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Progress {
    /// Percent, 0 to 100.
    pub(crate) percent: Option<f64>,
    /// The present activity.
    pub(crate) message: Option<String>,
    /// The steps, all of one kind.
    pub(crate) steps: Vec<String>,
    pub(crate) kind: StepKind,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// The summary that its command declared.
    pub(crate) summary: Summary,
    pub(crate) output_tail: String,
    pub(crate) error_tail: String,
    pub(crate) duration: Duration,
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Succeeded,
    /// Another exit code, or a signal that the agent did not send; in words.
    Failed(String),
    /// A failure to start; the sentence says what to do.
    NotStarted(String),
    /// An end that the session asked for.
    Stopped,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            summary: Summary::default(),
            output_tail: String::new(),
            error_tail: String::new(),
            duration: Duration::ZERO,
        }
    }
}

/// An action that the session asks for.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Run the command for a task.
    Start {
        submit: Box<TaskSubmit>,
        /// The folder to run in, checked.
        folder: PathBuf,
    },
    /// End a run: ask its command to end, wait for `grace`, force it.
    Stop {
        run: RunKey,
        /// The time between asking and forcing.
        grace: Duration,
    },
    /// Give up this connection; a new one will be made.
    Reconnect,
    /// Open a new connection beside this one.
    Renew,
    /// Show a notice to the agent's user.
    Show(Notice),
    /// Close the connection and exit.
    Exit(Exit),
}

/// The reason for which the agent exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// A request to stop.
    Stopped,
    /// The cloud's request to restart.
    Restart,
    /// The cloud does not accept the agent's key.
    Refused,
}

impl Exit {
    /// Returns the process's exit code. 75 is `EX_TEMPFAIL` of sysexits.h: "try again", for a
    /// supervisor.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Refused => 3,
            Self::Restart => 75,
        }
    }
}
