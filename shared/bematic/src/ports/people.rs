//! Ports to what is stored about people: their roles, and the audit log.

use std::time::Duration;

use async_trait::async_trait;
use bematic_protocol::ids::{ChannelId, UserId};

use crate::{
    access::{Role, RoleAssignment},
    agent::Project,
    audit::{AuditFilter, AuditRecord},
    error::StoreResult,
};

/// The roles of people.
#[async_trait]
pub trait Roles: Send + Sync {
    /// Returns the role that the person was given, and the channel's project: one call, since a
    /// command needs both.
    async fn find_with_project(
        &self,
        user: &UserId,
        channel: &ChannelId,
    ) -> StoreResult<(Option<Role>, Option<Project>)>;
    /// Returns all roles that were given, sorted by person. Several calls.
    async fn list(&self) -> StoreResult<Vec<RoleAssignment>>;
    /// Stores a person's role, replacing any other.
    async fn put(&self, assignment: &RoleAssignment) -> StoreResult<()>;
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
