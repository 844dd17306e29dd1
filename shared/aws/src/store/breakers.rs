//! Circuit breakers: one item an agent with a version, and what it lets through in the agent's
//! record.

use async_trait::async_trait;
use bematic::{
    breaker::{Breaker, IgnoredBecause, Logged, Window},
    error::StoreError,
    ports::{Breakers, Turn, Written},
    task::Finish,
};
use bematic_protocol::{ids::AgentId, time::Timestamp};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    agents::AgentStore,
    keys::{self, Key},
    several::key_of,
    table::{Item, Refusal, Transacted, attributes, failed, item, number, read, retry, text},
    tasks::REPORT_KEPT,
    transition::turn_breaker,
};

/// Breakers that are read at a time: each may be 100 KB.
const AT_ONCE: usize = 16;

#[async_trait]
impl Breakers for AgentStore {
    async fn breaker(&self, agent: &AgentId) -> Result<Breaker, StoreError> {
        self.with_logged(agent).await
    }

    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError> {
        let mut found = Vec::with_capacity(agents.len());
        for some in agents.chunks(AT_ONCE) {
            let calls = some.iter().map(|agent| self.with_logged(agent));
            found.extend(try_join_all(calls).await?);
        }
        Ok(found)
    }

    async fn turn(&self, agent: &AgentId, turn: Turn<'_>) -> Result<Written, StoreError> {
        if turn.before == turn.after {
            return Ok(Written::Done);
        }
        let writes = turn_breaker(&self.agents.name, agent, turn)?;
        Ok(match self.agents.transact(writes).await? {
            Transacted::Done => Written::Done,
            Transacted::Refused(_) => Written::Conflict,
        })
    }

    async fn announced(&self, agent: &AgentId, generation: u64) -> Result<(), StoreError> {
        let update = self
            .update(keys::agent(agent))
            .update_expression("SET announced = :generation")
            .condition_expression(
                "attribute_exists(pk) \
                 AND (attribute_not_exists(announced) OR announced < :generation)",
            )
            .expression_attribute_values(":generation", number(generation));
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(_) | Err(Refusal::Condition(_)) => Ok(()),
            Err(Refusal::Error(error)) => Err(error),
        }
    }
}

/// What is kept of an attempt beside its agent's breaker; its key says of which, and when.
#[derive(Serialize, Deserialize)]
struct Remark {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignored: Option<IgnoredBecause>,
}

impl AgentStore {
    /// The breaker, and as much of the newest beside it as a window holds.
    async fn with_logged(&self, agent: &AgentId) -> Result<Breaker, StoreError> {
        let key = keys::breaker(agent);
        let limit = Window::KEPT + 1;
        let answer = self
            .agents
            .client
            .query()
            .table_name(&self.agents.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(&key.pk))
            .expression_attribute_values(":prefix", text(keys::BREAKERS))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| failed("Query", error))?;
        let (mut breaker, mut beside) = (Breaker::default(), Vec::new());
        for item in answer.items.unwrap_or_default() {
            let found = key_of(&item)?;
            if found == key {
                breaker = read(item, &key)?;
            } else {
                beside.push(logged(&found, item)?);
            }
        }
        Ok(breaker.with_logged(beside))
    }
}

/// An end that is kept beside the breaker, as long as a report.
pub(super) fn logged_item(
    finish: &Finish<'_>,
    ignored: Option<IgnoredBecause>,
) -> Result<Item, StoreError> {
    let key = keys::logged(finish.agent, finish.now, finish.slot());
    let kept = number((finish.now + REPORT_KEPT).as_secs());
    item(&key, &Remark { ignored }, attributes([("expiresAt", kept)]))
}

fn logged(key: &Key, item: Item) -> Result<Logged, StoreError> {
    let Remark { ignored } = read(item, key)?;
    let parts = || {
        let (at, id) = key.sk.strip_prefix(keys::BREAKERS)?.split_once('#')?;
        let at = Timestamp::from_millis(at.parse().ok()?);
        let id = id.to_owned();
        Some(Logged { id, at, ignored })
    };
    parts().ok_or_else(|| StoreError::Corrupt {
        key: key.to_string(),
        source: "an end of an attempt without its time".into(),
    })
}
