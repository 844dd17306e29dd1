//! The reasons why a command is refused: whoever gave it can do something about them.

use bematic::agent::NoSuchKey;
use bematic_protocol::ids::{AgentId, ChannelId};
use strum::IntoStaticStr;

/// Why a command is refused. The variants' names are the stable codes in the audit log.
#[derive(Debug, thiserror::Error, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Refusal {
    /// The name stands for all agents.
    #[error(
        "an agent cannot be called {0}, which stands for all agents in a project; choose another name"
    )]
    ReservedName(AgentId),
    /// There is an agent with this name.
    #[error("the agent {0} exists; --add-key gives it another key")]
    AgentExists(AgentId),
    /// There is no agent with this name.
    #[error("there is no agent {0}; `bematic agent list` shows all agents")]
    UnknownAgent(AgentId),
    /// A project names an agent that does not exist.
    #[error("there is no agent {0}; create it first, with `bematic agent create {0}`")]
    #[strum(serialize = "UNKNOWN_AGENT")]
    UnknownProjectAgent(AgentId),
    /// The agent's record was deleted meanwhile.
    #[error("there is no agent {0} any more")]
    #[strum(serialize = "UNKNOWN_AGENT")]
    AgentGone(AgentId),
    /// The settings of a breaker are not valid.
    #[error("the settings are not valid")]
    InvalidSettings(#[source] garde::Report),
    /// The channel has a project.
    #[error(
        "the channel {channel} has the project {name}; `bematic project edit` changes it, and --replace \
         replaces it"
    )]
    ProjectExists {
        /// The channel.
        channel: ChannelId,
        /// The name of its project.
        name: String,
    },
    /// The channel has no project.
    #[error(
        "the channel {0} has no project; `bematic project create` makes one, and `bematic project list` \
         shows all"
    )]
    NoProject(ChannelId),
    /// The project is not valid.
    #[error("the project is not valid")]
    InvalidProject(#[source] garde::Report),
    /// No key, or more than one, has an id that begins so.
    #[error(transparent)]
    NoSuchKey(#[from] NoSuchKey),
}

impl Refusal {
    /// Returns the stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.into()
    }
}
