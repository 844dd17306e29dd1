//! People: their roles, their membership of the workspace, and the audit log of what they did.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use bematic::{
    access::{CheckedMembership, RoleAssignment},
    audit::{AuditFilter, AuditRecord},
    error::StoreError,
    ports::{AuditLog, Memberships, PersonInChannel, Roles},
};
use bematic_protocol::ids::{ChannelId, UserId};

use super::{
    PeopleStore, keys,
    table::{batch_get_chunk, call_error, limit_to_i32, parse_record},
};

#[async_trait]
impl Roles for PeopleStore {
    /// Reads all consistently: a role that was taken away is gone at once.
    async fn find_with_project(
        &self,
        user: &UserId,
        channel: &ChannelId,
    ) -> Result<PersonInChannel, StoreError> {
        let (role, membership) = (keys::role(user), keys::membership(user));
        let project = keys::project(channel);
        let wanted = [&role, &membership, &project].map(|key| (&self.agents, key));
        let mut found = batch_get_chunk(&self.agents.client, wanted.into_iter(), true).await?;
        let role: Option<RoleAssignment> = found.remove(&role).map(parse_record).transpose()?;
        Ok(PersonInChannel {
            role: role.map(|it| it.role),
            membership: found.remove(&membership).map(parse_record).transpose()?,
            project: found.remove(&project).map(parse_record).transpose()?,
        })
    }

    async fn list(&self) -> Result<Vec<RoleAssignment>, StoreError> {
        self.agents.find_listed(keys::ROLES_LIST).await
    }

    async fn put(&self, assignment: &RoleAssignment) -> Result<(), StoreError> {
        let user = &assignment.user_id;
        let put = self.agents.prepare_put(&keys::role(user), assignment)?;
        let put = put.add_to_list_index(keys::ROLES_LIST, user.as_str())?;
        put.send().await.map(drop)
    }
}

#[async_trait]
impl Memberships for PeopleStore {
    async fn put(&self, checked: &CheckedMembership) -> Result<(), StoreError> {
        let key = keys::membership(&checked.user_id);
        let put = self.agents.prepare_put(&key, checked)?;
        let expires_at = (checked.checked_at + CheckedMembership::KEPT_FOR).as_secs();
        put.set("expiresAt", expires_at)?.send().await.map(drop)
    }
}

#[async_trait]
impl AuditLog for PeopleStore {
    async fn append(&self, record: &AuditRecord, retention: Duration) -> Result<(), StoreError> {
        let put = self
            .agents
            .prepare_put(&keys::audit_record(record), record)?;
        let expires_at = (record.at + retention).as_secs();
        put.set("expiresAt", expires_at)?.send().await.map(drop)
    }

    async fn newest(
        &self,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut found = Vec::new();
        for partition in keys::audit_partitions(filter.since, filter.until) {
            let range = [
                (":pk", &*partition),
                (":since", &*filter.since.to_string()),
                // In a sort key the request's id follows the time, after `#`.
                (":until", &*format!("{}$", filter.until)),
            ];
            let mut query = self
                .agents
                .build_query("pk = :pk AND sk BETWEEN :since AND :until", range)
                .scan_index_forward(false);
            if let Some(user) = &filter.user_id {
                query = query
                    .filter_expression("userId = :user")
                    .expression_attribute_values(":user", AttributeValue::S(user.to_string()));
            } else {
                query = query.limit(limit_to_i32(limit));
            }
            let mut items = query.into_paginator().items().send();
            while found.len() < limit
                && let Some(item) = items.try_next().await.map_err(call_error("Query"))?
            {
                found.push(parse_record(item)?);
            }
        }
        Ok(found)
    }
}
