//! The project of a channel: the agents, the folder and the settings for its tasks.

use bematic_protocol::{
    ids::ChannelId,
    messages::limits::{MAX_LIST_ENTRIES, MAX_NAME_CHARS, MAX_PATH_CHARS, MAX_PROMPT_CHARS},
    time::Timestamp,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::Route;
use crate::task::TaskSpec;

/// The project of a channel.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct Project {
    /// The channel that the project belongs to.
    pub channel_id: ChannelId,
    /// The project's name.
    #[garde(length(chars, min = 1, max = MAX_NAME_CHARS))]
    pub project_id: String,
    /// The agents that the project's tasks may be sent to.
    #[serde(rename = "agentId")]
    pub route: Route,
    /// The folder on the agent's machine.
    #[garde(length(chars, min = 1, max = MAX_PATH_CHARS))]
    pub local_path: String,
    /// The model to use.
    #[garde(length(chars, min = 1, max = MAX_NAME_CHARS))]
    pub model: String,
    /// The maximum cost of a task in US dollars.
    #[garde(range(min = 0.01, max = 100_000.0))]
    pub max_budget: f64,
    /// The name of the bot that answers.
    #[garde(length(chars, min = 1, max = MAX_NAME_CHARS))]
    pub bot_name: String,
    /// The instructions for every task of the project.
    #[serde(default)]
    #[garde(length(chars, max = MAX_PROMPT_CHARS))]
    pub system_prompt: String,
    /// The tools that may be used; empty for the agent's own choice.
    #[serde(default)]
    #[garde(length(max = MAX_LIST_ENTRIES), inner(length(chars, max = MAX_NAME_CHARS)))]
    pub allowed_tools: Vec<String>,
    /// The length of a task's lease in seconds; `None` for the deployment's own setting.
    #[garde(inner(range(min = 10, max = 86_400)))]
    pub lease_secs: Option<u64>,
    /// Whether guests may give commands, and people of other workspaces in a channel that is shared
    /// with these.
    #[serde(default)]
    pub external_users: bool,
    /// The time at which the project was created.
    pub created_at: Timestamp,
}

impl Project {
    /// Returns the specification of a task with this prompt.
    pub fn spec(&self, prompt: String) -> TaskSpec {
        TaskSpec {
            project_id: self.project_id.clone(),
            bot_name: self.bot_name.clone(),
            command: "run".into(),
            prompt,
            system_prompt: self.system_prompt.clone(),
            local_path: self.local_path.clone(),
            model: self.model.clone(),
            max_budget: self.max_budget,
            allowed_tools: self.allowed_tools.clone(),
            lease_secs: self.lease_secs,
        }
    }
}
