//! The file `stack.json`, with the addresses and keys of a running stack for other tools.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use bematic_admin::LocalStackFile;
use serde::{Deserialize, Serialize};

use crate::process::STACK_FILE;

/// The addresses and keys of a running stack: `stack.json`, which other tools rely on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackFile {
    /// The part that the administration needs: the emulator, the tables and the queues.
    #[serde(flatten)]
    pub aws: LocalStackFile,
    /// The address that agents connect to.
    pub websocket_url: String,
    /// The base of `/slack/commands`, `/slack/events` and `/slack/interactions`.
    pub webhook_url: String,
    /// The health check, which answers 200 while the system can work.
    pub health_url: String,
    /// The page of the local Slack.
    pub slack_url: String,
    /// The Web API of the local Slack.
    pub slack_api_url: String,
    /// The key that signs requests to the webhook.
    pub slack_signing_secret: String,
    /// The token that the Web API accepts.
    pub slack_bot_token: String,
    /// A channel with a project.
    pub channel_id: String,
    /// The channel for notices about circuit breakers.
    pub operations_channel_id: String,
    /// The user who may do everything.
    pub admin_user_id: String,
    /// The Slack workspace.
    pub team_id: String,
    /// The Slack app.
    pub app_id: String,
    /// The agent of the channel's project.
    pub agent_id: String,
    /// The key of that agent.
    pub agent_api_key: String,
}

impl StackFile {
    /// Reads the file of a running stack.
    pub fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read(file).context("no local stack runs: start one with `cargo xtask up`")?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what was written", file.display()))
    }

    /// Writes the file in one step: a reader never gets half of it. Only its owner may read it.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let file = dir.join(STACK_FILE);
        let new = file.with_extension("json.new");
        write_private(&new, &serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&new, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Writes a file that only its owner may read, in place of one that is there.
pub(crate) fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    use bematic_admin::{AuditDays, Tables};

    use super::*;

    fn empty_file() -> StackFile {
        StackFile {
            aws: LocalStackFile {
                aws_endpoint: String::new(),
                region: String::new(),
                aws_access_key_id: String::new(),
                aws_secret_access_key: String::new(),
                tables: Tables {
                    tasks: String::new(),
                    agents: String::new(),
                    keys: String::new(),
                },
                queues: BTreeMap::new(),
                websocket_management_url: None,
                audit_days: AuditDays::default(),
            },
            websocket_url: String::new(),
            webhook_url: String::new(),
            health_url: String::new(),
            slack_url: String::new(),
            slack_api_url: String::new(),
            slack_signing_secret: String::new(),
            slack_bot_token: String::new(),
            channel_id: String::new(),
            operations_channel_id: String::new(),
            admin_user_id: String::new(),
            team_id: String::new(),
            app_id: String::new(),
            agent_id: String::new(),
            agent_api_key: String::new(),
        }
    }

    #[test]
    fn only_the_owner_may_read_the_file() {
        let dir = tempfile::tempdir().unwrap();
        // Whatever is left of an earlier one.
        fs::write(dir.path().join("stack.json.new"), "").unwrap();
        empty_file().write(dir.path()).unwrap();
        let file = dir.path().join(STACK_FILE);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
        assert!(StackFile::read(&file).is_ok());
    }

    #[test]
    fn the_file_has_the_keys_that_others_rely_on() {
        let json = serde_json::to_value(empty_file()).unwrap();
        let mut keys: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        let wanted = [
            "adminUserId",
            "agentApiKey",
            "agentId",
            "appId",
            "auditDays",
            "awsAccessKeyId",
            "awsEndpoint",
            "awsSecretAccessKey",
            "channelId",
            "healthUrl",
            "operationsChannelId",
            "queues",
            "region",
            "securityAuditDays",
            "slackApiUrl",
            "slackBotToken",
            "slackSigningSecret",
            "slackUrl",
            "tables",
            "teamId",
            "webhookUrl",
            "websocketManagementUrl",
            "websocketUrl",
        ];
        assert_eq!(keys, wanted);
    }
}
