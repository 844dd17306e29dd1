//! The table of API keys: checked by the authorizer and in band, written by the administration
//! command. Revoking keys also writes the agent's record, which a bind checks.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use bematic::{
    agent::{Agent, Binding, InBandConnection, KeyHash, KeyId, StoredKey},
    error::StoreError,
    ports::ApiKeys,
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    AgentStore,
    keys::{self, API_KEY_PREFIX},
    table::{
        Item, Table, batch_get_chunk, call_error, invalid_request_error, item_key, parse_record,
        query_first_items,
    },
    write::{Write, WriteLabel},
};

/// How long a revocation stays in the agent's record after its key was deleted: longer than the 2 h
/// that a connection which the authorizer has accepted can last.
const REVOCATION_TTL: Duration = Duration::from_hours(3);

/// The keys of agents in DynamoDB.
#[derive(Debug, Clone)]
pub struct KeyStore {
    /// `None` in a function that may not reach the keys: every call fails.
    keys: Option<Table>,
    agents: AgentStore,
}

/// A key's record.
#[skip_serializing_none]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiKeyRecord {
    created_at: Timestamp,
    valid_until: Option<Timestamp>,
}

/// What a revocation changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationOutcome {
    /// The connection that the agent had with a revoked key. The agent is marked offline, and the
    /// connection has to be closed.
    pub unbound: Option<ConnectionId>,
}

#[async_trait]
impl ApiKeys for KeyStore {
    async fn has_valid_key(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found: Option<ApiKeyRecord> = self.table()?.find(&keys::api_key(agent, key)).await?;
        Ok(found.is_some_and(|record| stored_key(key.clone(), &record).is_valid_at(now)))
    }

    /// Reads the records of the connection, the agent and the key.
    async fn find_with_agent(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> Result<(Option<InBandConnection>, Option<Agent>), StoreError> {
        let (keys, agents) = (self.table()?, &self.agents.agents);
        let hash = key;
        let [connection, agent, key] = [
            keys::connection(id),
            keys::agent(agent),
            keys::api_key(agent, hash),
        ];
        let wanted = [(agents, &connection), (agents, &agent), (keys, &key)];
        let mut found = batch_get_chunk(&agents.client, wanted.into_iter(), true).await?;
        let connection: Option<InBandConnection> =
            found.remove(&connection).map(parse_record).transpose()?;
        let key: Option<ApiKeyRecord> = found.remove(&key).map(parse_record).transpose()?;
        let is_valid = key.is_some_and(|record| stored_key(hash.clone(), &record).is_valid_at(now));
        let agent = found.remove(&agent).filter(|_| is_valid);
        Ok((connection, agent.map(parse_record).transpose()?))
    }

    /// Writes without a read, on condition that the agent exists and has no connection, the key is
    /// the agent's and valid, and the connection is unbound.
    async fn bind_unread(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        binding: &Binding,
    ) -> Result<bool, StoreError> {
        let is_valid = self
            .table()?
            .prepare_exists_check(keys::api_key(agent, key))
            .when("attribute_not_exists(#validUntil) OR #validUntil > :now")
            .set_placeholder_value(":now", binding.bound_at)?;
        let writes = vec![
            (
                WriteLabel::Agent,
                self.agents
                    .prepare_bind_if_unchanged(agent, binding, None)?,
            ),
            (
                WriteLabel::Connection,
                self.agents.prepare_connection_bind(binding, agent)?,
            ),
            (WriteLabel::ApiKey, is_valid),
        ];
        Ok(self.agents.agents.transact(writes).await?.is_empty())
    }
}

impl KeyStore {
    /// Creates the repository on the tables of keys and agents. Without the name of the first,
    /// every call to it fails.
    pub fn new(client: Client, keys: Option<String>, agents: String) -> Self {
        Self {
            keys: keys.map(|name| Table::new(client.clone(), name)),
            agents: AgentStore::new(client, agents),
        }
    }

    fn table(&self) -> Result<&Table, StoreError> {
        /// The table of keys is not configured.
        #[derive(Debug, thiserror::Error)]
        #[error("this function may not read the table of keys")]
        struct NoKeysTable;
        self.keys
            .as_ref()
            .ok_or_else(|| invalid_request_error(NoKeysTable))
    }

    /// Adds a key to an agent: two calls. Returns false if there is no such agent.
    pub async fn add(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if !self.create_key_maps(agent).await? {
            return Ok(false);
        }
        let record = ApiKeyRecord {
            created_at: now,
            valid_until: None,
        };
        let put = self
            .table()?
            .prepare_put(&keys::api_key(agent, key), &record)?;
        Ok(put.send().await?.is_ok())
    }

    /// Returns an agent's keys, oldest first.
    pub async fn list(&self, agent: &AgentId) -> Result<Vec<StoredKey>, StoreError> {
        let query = self.table()?.prefix_query(&keys::api_keys_prefix(agent));
        let items = query_first_items(query, usize::MAX).await?;
        let mut found: Vec<_> = items.into_iter().map(parse_key).collect::<Result<_, _>>()?;
        found.sort_by(|a, b| (a.created_at, a.hash.as_str()).cmp(&(b.created_at, b.hash.as_str())));
        Ok(found)
    }

    /// Ends the validity of a key that is still there; DynamoDB deletes it some time after that. A
    /// key that would end earlier keeps its time.
    pub async fn end_validity(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let update = self
            .table()?
            .prepare_update(keys::api_key(agent, key))
            .if_exists()
            .when("attribute_not_exists(#validUntil) OR #validUntil > :validUntil")
            .set("validUntil", until)?
            .set("expiresAt", until.as_secs())?;
        update.send().await.map(drop)
    }

    /// Revokes keys of an agent. In one write of the agent's record, no connection can be bound
    /// with one of them any more, and the agent's connection is unbound if it was bound with one of
    /// them; with `all`, whatever it was bound with. Then the keys are deleted: after a failure in
    /// between, the command finds the keys again. Returns `None` if there is no such agent.
    ///
    /// # Errors
    /// Also if the agent's connection changes at each of several tries.
    pub async fn revoke(
        &self,
        agent_id: &AgentId,
        revoked: &[StoredKey],
        all: bool,
        now: Timestamp,
    ) -> Result<Option<RevocationOutcome>, StoreError> {
        /// The number of times that the agent may connect while its keys are being revoked.
        const TRIES: usize = 5;
        if !self.create_key_maps(agent_id).await? {
            return Ok(None);
        }
        let present: Vec<_> = self
            .list(agent_id)
            .await?
            .iter()
            .map(StoredKey::id)
            .collect();
        let ids: Vec<_> = revoked.iter().map(StoredKey::id).collect();
        for _ in 0..TRIES {
            let Some(agent) = self.agents.agents.find(&keys::agent(agent_id)).await? else {
                return Ok(None);
            };
            let (update, unbound) = self.prepare_revocation(&agent, &ids, all, &present, now)?;
            if update.send().await?.is_ok() {
                let table = self.table()?;
                let deletions = revoked.iter().map(async |key| {
                    let delete = table.prepare_delete(keys::api_key(agent_id, &key.hash));
                    delete.send().await
                });
                try_join_all(deletions).await?;
                return Ok(Some(RevocationOutcome { unbound }));
            }
        }
        Err(call_error("UpdateItem")(
            "the agent's connection keeps changing",
        ))
    }

    /// Returns the update of the agent's record that revokes keys, on condition that the agent's
    /// connection is still the same, and the connection that it unbinds.
    fn prepare_revocation(
        &self,
        agent: &Agent,
        revoked: &[KeyId],
        all: bool,
        present: &[KeyId],
        now: Timestamp,
    ) -> Result<(Write, Option<ConnectionId>), StoreError> {
        let current = agent.connection.as_ref();
        let is_revoked = |binding: &&Binding| {
            all || binding
                .key_id
                .as_ref()
                .is_some_and(|id| revoked.contains(id))
        };
        let ended = current.filter(is_revoked);
        // The key of the connection may be deleted already.
        let of_connection = ended.and_then(|binding| binding.key_id.as_ref());
        let of_connection = of_connection.filter(|id| !revoked.contains(id));
        let mut update = self.agents.agents.prepare_update(keys::agent(&agent.id));
        for id in revoked.iter().chain(of_connection) {
            update = update.set(&format!("revokedKeys.{id}"), now)?;
        }
        let remains = |id: &KeyId| present.contains(id) && !revoked.contains(id);
        for id in agent.key_uses.keys().filter(|id| !remains(id)) {
            update = update.remove(&format!("keyUses.{id}"));
        }
        // A key that was not deleted after its revocation stays revoked.
        let is_over = |(id, at): &(&KeyId, &Timestamp)| {
            now.since(**at) > REVOCATION_TTL && !present.contains(id) && !revoked.contains(id)
        };
        for (id, _) in agent.revoked_keys.iter().filter(is_over) {
            if of_connection != Some(id) {
                update = update.remove(&format!("revokedKeys.{id}"));
            }
        }
        if ended.is_some() {
            update = update.set("lastSeen", now)?;
            update = update.remove("connection").remove_due();
        }
        let update = match current {
            Some(binding) => update
                .when("#connection.#id = :seen")
                .set_placeholder_value(":seen", &binding.id)?,
            None => update.if_exists().when("attribute_not_exists(#connection)"),
        };
        Ok((update, ended.map(|binding| binding.id.clone())))
    }

    /// Creates the maps of an agent's record whose entries are keys, for an agent of an earlier
    /// version: DynamoDB sets an entry only of a map that exists. Returns false if there is no such
    /// agent.
    async fn create_key_maps(&self, agent: &AgentId) -> Result<bool, StoreError> {
        let empty = BTreeMap::<String, Timestamp>::new();
        let update = self.agents.agents.prepare_update(keys::agent(agent));
        let update = update
            .if_exists()
            .set_if_absent("keyUses", &empty)?
            .set_if_absent("revokedKeys", &empty)?;
        Ok(update.send().await?.is_ok())
    }
}

/// Returns the key of an item.
fn parse_key(item: Item) -> Result<StoredKey, StoreError> {
    let key = item_key(&item)?;
    let hash = key.sk.strip_prefix(API_KEY_PREFIX).unwrap_or_default();
    let hash = KeyHash::try_from(hash.to_owned()).map_err(|error| StoreError::Corrupt {
        key: key.to_string(),
        source: error.into(),
    })?;
    Ok(stored_key(hash, &parse_record(item)?))
}

fn stored_key(hash: KeyHash, record: &ApiKeyRecord) -> StoredKey {
    StoredKey {
        hash,
        created_at: record.created_at,
        valid_until: record.valid_until,
    }
}
