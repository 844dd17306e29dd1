//! The audit record of a command: which AWS identity changed what, from which machine, and with
//! which outcome.

use anyhow::{Context as _, Result, anyhow};
use bematic::audit::{AuditActor, AuditOutcome, AuditRecord, AuditRetention};
use bematic::error::{QueueError, StoreError, chain};
use bematic::ports::AuditLog as _;
use bematic_aws::store::PeopleStore;
use bematic_protocol::ids::{IdGenerator as _, RandomIds};
use bematic_protocol::time::Timestamp;
use nix::unistd::{Uid, User, gethostname};

use crate::command::Change;
use crate::deployment::Deployment;
use crate::refusal::Refusal;

/// Records the changes of a deployment in its audit log.
pub(crate) struct AuditTrail {
    log: PeopleStore,
    sts: aws_sdk_sts::Client,
    retention: AuditRetention,
}

impl AuditTrail {
    /// Creates the audit trail of a deployment.
    pub(crate) fn new(deployment: &Deployment) -> Self {
        let client = aws_sdk_dynamodb::Client::new(&deployment.config);
        Self {
            log: PeopleStore::new(client, deployment.tables.agents.clone()),
            sts: aws_sdk_sts::Client::new(&deployment.config),
            retention: deployment.audit_retention,
        }
    }

    /// Stores the record of a change that was made, refused or failed: one call to STS and a write. An
    /// identity that STS does not name is a warning on stderr.
    pub(crate) async fn record<T>(
        &self,
        change: Change,
        outcome: &Result<T>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let identity = self.fetch_identity().await;
        if let Err(error) = &identity {
            eprintln!(
                "warning: the audit log records an unknown identity, since AWS does not say whose \
                 credentials these are: {error:#}"
            );
        }
        let (outcome, code) = match outcome {
            Ok(_) => (AuditOutcome::Done, None),
            Err(error) => classify(error),
        };
        let record = AuditRecord {
            at,
            request: format!("bematic-{}", RandomIds.message()),
            actor: AuditActor::Administrator {
                machine: name_machine(),
                aws_identity: identity.ok(),
            },
            action: change.action,
            task: None,
            outcome,
            code: code.map(ToOwned::to_owned),
            security: change.security,
        };
        self.log.append(&record, self.retention.of(&record)).await
    }

    /// Returns the ARN of the identity whose credentials the command has. It needs no permission.
    async fn fetch_identity(&self) -> Result<String> {
        let answer = self.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| anyhow!(chain(&error)))?;
        answer.arn.context("STS names no ARN")
    }
}

/// Returns whether a command was refused or has failed, and the stable code of the reason if there is
/// one.
fn classify(error: &anyhow::Error) -> (AuditOutcome, Option<&'static str>) {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return (AuditOutcome::Refused, Some(refusal.code()));
    }
    let store = error.downcast_ref::<StoreError>().map(<&str>::from);
    let queue = || error.is::<QueueError>().then_some(QueueError::CODE);
    (AuditOutcome::Failed, store.or_else(queue))
}

/// Returns the names that the user and the machine have for themselves.
fn name_machine() -> String {
    /// The number of characters that are kept.
    const MAX_CHARS: usize = 100;
    let user = User::from_uid(Uid::current()).ok().flatten();
    let user = user.map(|it| it.name);
    let host = gethostname().ok().and_then(|it| it.into_string().ok());
    let [user, host] = [user, host].map(|it| it.unwrap_or_else(|| "unknown".to_owned()));
    format!("{user}@{host}").chars().take(MAX_CHARS).collect()
}
