//! Ports to what is known of people: their roles, their membership of the workspace, and the audit log.

use std::time::Duration;

use async_trait::async_trait;
use bematic_protocol::ids::{ChannelId, UserId};

use crate::{
    access::{CheckedMembership, Membership, Role, RoleAssignment},
    agent::Project,
    audit::{AuditFilter, AuditRecord},
    error::StoreResult,
    slack::api::SlackError,
};

/// What is stored about a person, and about a channel in which the person gives a command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PersonInChannel {
    /// The role that the person was given.
    pub role: Option<Role>,
    /// What Slack last said of the person's membership. It may have expired.
    pub membership: Option<CheckedMembership>,
    /// The channel's project.
    pub project: Option<Project>,
}

/// The roles of people.
#[async_trait]
pub trait Roles: Send + Sync {
    /// Returns the person's role and membership, and the channel's project: one call, since a
    /// command needs all of them.
    async fn find_with_project(
        &self,
        user: &UserId,
        channel: &ChannelId,
    ) -> StoreResult<PersonInChannel>;
    /// Returns all roles that were given, sorted by person. Several calls.
    async fn list(&self) -> StoreResult<Vec<RoleAssignment>>;
    /// Stores a person's role, replacing any other.
    async fn put(&self, assignment: &RoleAssignment) -> StoreResult<()>;
}

/// What Slack said of people's membership of the workspace.
#[async_trait]
pub trait Memberships: Send + Sync {
    /// Stores what Slack said, replacing an earlier check. It is kept for
    /// [`CheckedMembership::KEPT_FOR`].
    async fn put(&self, checked: &CheckedMembership) -> StoreResult<()>;
}

/// Slack, which knows how people belong to the workspace.
#[async_trait]
pub trait MembershipSource: Send + Sync {
    /// Asks Slack how a person belongs to the workspace: a call to Slack's Web API. It does not wait
    /// or retry by itself.
    async fn membership(&self, user: &UserId) -> Result<Membership, SlackError>;
}

/// The audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Adds a record, which is kept for `retention`.
    async fn append(&self, record: &AuditRecord, retention: Duration) -> StoreResult<()>;
    /// Returns the newest records that match, newest first. A call for each 30 days and each
    /// MB of records.
    async fn newest(&self, filter: &AuditFilter, limit: usize) -> StoreResult<Vec<AuditRecord>>;
}
