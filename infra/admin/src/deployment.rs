//! Finding a deployment: the local stack by its file `stack.json`, a stack on AWS by its name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use bematic::audit::AuditRetention;
use bematic_aws::app::CallTimeLimits;
use serde::{Deserialize, Serialize};

use crate::cloudformation::{self, Outputs};

/// The environment variable with the path of the local stack's file.
pub const STACK_FILE_VARIABLE: &str = "BEMATIC_STACK";
/// The path below a checkout to which `cargo xtask up` writes the local stack's file.
const STACK_FILE: &str = "target/local/stack.json";

/// The output of a stack with the address at which connections of agents are closed.
pub const MANAGEMENT_URL_OUTPUT: &str = "WebSocketManagementUrl";

/// The names of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    /// The table of tasks, their progress and their output.
    pub tasks: String,
    /// The table of agents, connections, breakers and projects.
    pub agents: String,
    /// The table of the agents' API keys.
    pub keys: String,
}

/// The numbers of days for which a deployment keeps records of its audit log. A deployment of an
/// earlier version does not say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditDays {
    audit_days: Option<u32>,
    security_audit_days: Option<u32>,
}

/// The part of the local stack's `stack.json` that is about AWS.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalStackFile {
    /// The endpoint of all AWS services.
    pub aws_endpoint: String,
    /// The AWS region.
    pub region: String,
    /// The access key of the stack: random, so that only those who can read the file have it.
    #[serde(default)]
    pub aws_access_key_id: String,
    /// The secret key that belongs to it.
    #[serde(default)]
    pub aws_secret_access_key: String,
    /// The names of the tables.
    pub tables: Tables,
    /// The URLs of the queues, by name; a dead-letter queue's name ends in `-dead-letters`.
    pub queues: BTreeMap<String, String>,
    /// The address at which connections of agents are closed; `None` in a file of an earlier
    /// version.
    #[serde(default)]
    pub websocket_management_url: Option<String>,
    /// How long records of the audit log are kept.
    #[serde(flatten)]
    pub audit_days: AuditDays,
}

impl LocalStackFile {
    /// Returns the SDK configuration to call the stack's AWS services.
    pub async fn sdk_config(&self) -> SdkConfig {
        local_sdk_config(
            self.aws_endpoint.clone(),
            self.region.clone(),
            &self.aws_access_key_id,
            &self.aws_secret_access_key,
        )
        .await
    }

    /// Reads a `stack.json`.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let name = file.display();
        let text = fs::read(file).with_context(|| {
            format!("there is no local stack at {name}; `cargo xtask up` starts one")
        })?;
        serde_json::from_slice(&text).with_context(|| format!("{name} is not a local stack's file"))
    }

    /// Finds the `stack.json` of the checkout that `folder` is in.
    pub(crate) fn find(folder: &Path) -> Result<PathBuf> {
        let mut files = folder.ancestors().map(|dir| dir.join(STACK_FILE));
        files.find(|file| file.is_file()).with_context(|| {
            format!(
                "no stack: name one on AWS with --stack NAME, or give the local stack's file with \
                 --stack-file FILE. (There is no {STACK_FILE} in {} or above: `cargo xtask up` \
                 writes it in a checkout.)",
                folder.display()
            )
        })
    }
}

/// A deployment: the SDK configuration to reach it, and the names of its resources.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The SDK configuration: endpoint, region and credentials.
    pub config: SdkConfig,
    /// The names of the tables.
    pub tables: Tables,
    /// The URLs of the queues, by name; a dead-letter queue's name ends in `-dead-letters`.
    pub queues: BTreeMap<String, String>,
    /// The address at which connections of agents are closed.
    pub management_url: Option<String>,
    /// How long records of the audit log are kept.
    pub audit_retention: AuditRetention,
}

impl Deployment {
    /// Returns the deployment of a local stack.
    pub async fn local(stack: LocalStackFile) -> Self {
        Self {
            config: stack.sdk_config().await,
            tables: stack.tables,
            queues: stack.queues,
            management_url: stack.websocket_management_url,
            audit_retention: stack.audit_days.retention(),
        }
    }

    /// Returns the deployment of the CloudFormation stack with this name, with the region and the
    /// credentials of the AWS environment.
    pub async fn on_aws(stack: &str) -> Result<Self> {
        let config = CallTimeLimits::USUAL.sdk_config().load().await;
        let outputs = cloudformation::fetch_outputs(&config, stack).await?;
        Ok(Self {
            config,
            tables: Tables::of(&outputs)
                .with_context(|| format!("the stack {stack} is not a deployment of Bematic"))?,
            queues: queue_urls(&outputs),
            management_url: outputs.get(MANAGEMENT_URL_OUTPUT).cloned(),
            audit_retention: AuditDays::of(&outputs)?.retention(),
        })
    }
}

/// Returns the SDK configuration for a local stack.
pub async fn local_sdk_config(
    endpoint: String,
    region: impl Into<Cow<'static, str>>,
    access_key_id: &str,
    secret_access_key: &str,
) -> SdkConfig {
    let credentials = Credentials::from_keys(access_key_id, secret_access_key, None);
    CallTimeLimits::USUAL
        .sdk_config()
        .endpoint_url(endpoint)
        .region(Region::new(region))
        .credentials_provider(credentials)
        .load()
        .await
}

impl Tables {
    /// Returns the tables' names from a deployment's outputs.
    pub fn of(outputs: &Outputs) -> Result<Self> {
        let table = |name: &str| {
            let output = outputs.get(name).cloned();
            output.with_context(|| format!("the stack has no output {name}"))
        };
        Ok(Self {
            tasks: table("TasksTable")?,
            agents: table("AgentsTable")?,
            keys: table("KeysTable")?,
        })
    }
}

impl AuditDays {
    /// Returns the numbers of days from a deployment's outputs.
    ///
    /// # Errors
    /// If an output is there, and no whole number.
    pub fn of(outputs: &Outputs) -> Result<Self> {
        let days = |name: &str| {
            let days = outputs.get(name).map(|days| days.parse());
            let days = days.transpose();
            days.with_context(|| format!("the stack's output {name} is not a number of days"))
        };
        Ok(Self {
            audit_days: days("AuditDays")?,
            security_audit_days: days("SecurityAuditDays")?,
        })
    }

    fn retention(self) -> AuditRetention {
        AuditRetention::from_days(self.audit_days, self.security_audit_days)
    }
}

/// Returns the queues' URLs from a deployment's outputs, by name: the output `DispatchQueueUrl` is
/// `dispatch`, `DispatchDeadLettersUrl` is `dispatch-dead-letters`.
pub fn queue_urls(outputs: &Outputs) -> BTreeMap<String, String> {
    let suffixes = [("QueueUrl", ""), ("DeadLettersUrl", "-dead-letters")];
    let named = |name: &str| {
        suffixes.iter().find_map(|(suffix, short)| {
            let queue = name.strip_suffix(suffix)?.to_lowercase();
            Some(format!("{queue}{short}"))
        })
    };
    outputs
        .iter()
        .filter_map(|(name, url)| Some((named(name)?, url.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_have_short_names() {
        let names = ["DispatchQueueUrl", "DispatchDeadLettersUrl", "WebhookUrl"];
        let outputs = names.map(|name| (name.to_owned(), name.to_owned())).into();
        let names: Vec<_> = queue_urls(&outputs).into_keys().collect();
        assert_eq!(names, ["dispatch", "dispatch-dead-letters"]);
    }

    #[test]
    fn the_days_of_the_audit_log_are_outputs_and_those_of_an_earlier_stack_the_defaults() {
        let earlier = AuditDays::of(&Outputs::new()).unwrap();
        assert_eq!(earlier.retention(), AuditRetention::default());
        let outputs = [("AuditDays", "7"), ("SecurityAuditDays", "14")];
        let mut outputs: Outputs = outputs
            .map(|(name, days)| (name.into(), days.into()))
            .into();
        let days = AuditDays::of(&outputs).unwrap();
        let expected = AuditRetention::from_days(Some(7), Some(14));
        assert_eq!(days.retention(), expected);
        outputs.insert("AuditDays".into(), "1.5".into());
        let error = AuditDays::of(&outputs).unwrap_err().to_string();
        assert!(error.contains("AuditDays"), "{error}");
    }

    #[test]
    fn the_local_stack_is_found_from_any_folder_of_the_checkout() {
        let checkout = tempfile::tempdir().unwrap();
        let file = checkout.path().join(STACK_FILE);
        let below = checkout.path().join("infra/admin/src");
        fs::create_dir_all(&below).unwrap();
        let error = LocalStackFile::find(&below).unwrap_err().to_string();
        assert!(error.contains("--stack NAME"), "{error}");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "{}").unwrap();
        assert_eq!(LocalStackFile::find(&below).unwrap(), file);
    }
}
