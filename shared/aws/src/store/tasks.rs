//! Tasks: their records, specifications, results, late reports and cards.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use bematic::{
    agent::{Agent, KeyId},
    error::StoreError,
    ports::{
        AttachedRecord, BreakerChange, CardRecord, CardRecords, ClaimConditions, ClaimOutcome,
        Created, ReportedTask, TaskCreation, Tasks, TransitionWritten,
    },
    task::{Completion, LateReport, Task, TaskSpec},
};
use bematic_protocol::{
    ids::{AgentId, CardSubject, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    TaskStore, keys,
    table::{batch_get_chunk, parse_record, query_first_items},
    write::{ConditionFailed, Write, WriteLabel},
};

/// How long a repeated request is recognised. Slack repeats a request for some 6 min.
const REQUEST_TTL: Duration = Duration::from_hours(24);

const SECS_PER_HOUR: u64 = 60 * 60;

/// The task that a request of Slack created.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskRequestRecord {
    task_id: TaskId,
}

impl TaskStore {
    /// Returns the write that counts a task of the person who requested it, on condition that there
    /// were fewer than `limit` in this hour. Each person and hour has an item of its own.
    fn prepare_count_task(&self, task: &Task, limit: u32) -> Result<Write, StoreError> {
        let hour = task.created_at.as_secs() / SECS_PER_HOUR;
        let key = keys::hourly_task_count(&task.origin.user_id, hour);
        self.agents
            .prepare_update(key)
            .add_to_attribute("created", 1)?
            .set("expiresAt", (hour + 2) * SECS_PER_HOUR)?
            .when("attribute_not_exists(#created) OR #created < :limit")
            .set_placeholder_value(":limit", limit)
    }

    /// Returns the write of a request of Slack with what it creates, on condition that the request
    /// has created nothing before.
    pub(super) fn prepare_put_request(
        &self,
        request: &str,
        created: &impl Serialize,
        now: Timestamp,
    ) -> Result<Write, StoreError> {
        let put = self.tasks.prepare_put(&keys::request(request), created)?;
        let put = put.set("expiresAt", (now + REQUEST_TTL).as_secs())?;
        Ok(put.if_absent())
    }
}

#[async_trait]
impl Tasks for TaskStore {
    async fn find(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.tasks.find(&keys::task(id)).await
    }

    async fn find_all(&self, ids: &BTreeSet<TaskId>) -> Result<Vec<Task>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| keys::task(*id)).collect();
        let found = self.tasks.batch_get(&keys, true).await?;
        found.into_values().collect()
    }

    async fn find_for_agent(
        &self,
        id: TaskId,
        agent: &AgentId,
        key: Option<&KeyId>,
    ) -> Result<ReportedTask, StoreError> {
        let (task, breaker, record) = (keys::task(id), keys::breaker(agent), keys::agent(agent));
        let keys = [(&self.tasks, &task), (&self.agents, &breaker)];
        let keys = keys.into_iter().chain(key.map(|_| (&self.agents, &record)));
        let mut found = batch_get_chunk(&self.tasks.client, keys, true).await?;
        let breaker = found.remove(&breaker).map(parse_record).transpose()?;
        let record: Option<Agent> = found.remove(&record).map(parse_record).transpose()?;
        Ok(ReportedTask {
            task: found.remove(&task).map(parse_record).transpose()?,
            breaker: breaker.unwrap_or_default(),
            is_key_revoked: record.is_some_and(|it| it.has_revoked_key(key)),
        })
    }

    async fn spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StoreError> {
        self.tasks.find(&keys::spec(id)).await
    }

    async fn completion(&self, id: TaskId) -> Result<Option<Completion>, StoreError> {
        self.tasks.find(&keys::result(id)).await
    }

    async fn create(
        &self,
        task: &Task,
        spec: &TaskSpec,
        request: &str,
        hourly_limit: Option<u32>,
    ) -> Result<TaskCreation, StoreError> {
        let created = TaskRequestRecord { task_id: task.id };
        let agent = keys::agent(&task.agent_id);
        let mut writes = vec![
            (
                WriteLabel::Request,
                self.prepare_put_request(request, &created, task.created_at)?,
            ),
            (WriteLabel::Task, self.prepare_put_task(task)?.if_absent()),
            (
                WriteLabel::Content,
                self.tasks.prepare_put(&keys::spec(task.id), spec)?,
            ),
            (
                WriteLabel::Place,
                self.tasks.prepare_put(&keys::queue_place(task), task)?,
            ),
            (WriteLabel::Agent, self.agents.prepare_exists_check(agent)),
        ];
        if let Some(limit) = hourly_limit {
            let count = self.prepare_count_task(task, limit)?;
            writes.push((WriteLabel::HourlyTaskCount, count));
        }
        let mut refused = self.tasks.transact(writes).await?;
        if refused.is_empty() {
            Ok(TaskCreation::Done)
        } else if let Some(item) = refused.remove(&WriteLabel::Request) {
            // A repeated request is reported as one, also if another condition failed with it.
            let first: TaskRequestRecord = parse_record(item)?;
            Ok(TaskCreation::Repeated(first.task_id))
        } else if refused.contains_key(&WriteLabel::Agent) {
            Ok(TaskCreation::NoAgent)
        } else if refused.contains_key(&WriteLabel::HourlyTaskCount) {
            Ok(TaskCreation::HourlyLimitReached)
        } else {
            Err(StoreError::Corrupt {
                key: keys::task(task.id).to_string(),
                source: "the new task's id is taken".into(),
            })
        }
    }

    async fn created_by(&self, request: &str) -> Result<Option<TaskId>, StoreError> {
        let found: Option<TaskRequestRecord> = self.tasks.find(&keys::request(request)).await?;
        Ok(found.map(|it| it.task_id))
    }

    async fn claim(
        &self,
        before: &Task,
        after: Task,
        conditions: ClaimConditions<'_>,
    ) -> Result<ClaimOutcome, StoreError> {
        let writes = self.transition_writes(
            before,
            &after,
            None,
            conditions.change,
            Some(conditions),
            None,
        )?;
        let refused = self.tasks.transact(writes).await?;
        Ok(if refused.is_empty() {
            ClaimOutcome::Taken(Box::new(after))
        } else if refused.contains_key(&WriteLabel::Task) {
            ClaimOutcome::TaskChanged
        } else if refused.contains_key(&WriteLabel::Agent) {
            ClaimOutcome::AgentUnavailable
        } else {
            ClaimOutcome::BreakerChanged
        })
    }

    async fn write_transition(
        &self,
        before: &Task,
        after: &Task,
        attached: Option<AttachedRecord<'_>>,
        change: Option<BreakerChange<'_>>,
        key: Option<&KeyId>,
    ) -> Result<TransitionWritten, StoreError> {
        let writes = self.transition_writes(before, after, attached, change, None, key)?;
        let refused = match <[_; 1]>::try_from(writes) {
            Ok([(label, write)]) => match write.send().await? {
                Ok(_) => BTreeMap::new(),
                Err(ConditionFailed(item)) => [(label, item)].into(),
            },
            Err(writes) => self.tasks.transact(writes).await?,
        };
        Ok(if refused.is_empty() {
            TransitionWritten::Done
        } else if refused.contains_key(&WriteLabel::Agent) {
            // The agent's record has no other condition here.
            TransitionWritten::KeyRevoked
        } else {
            TransitionWritten::Conflict
        })
    }

    async fn late_reports(&self, task: TaskId) -> Result<Vec<LateReport>, StoreError> {
        let newest = query_first_items(
            self.tasks
                .newest_first_query(&keys::late_reports_prefix(task)),
            100,
        )
        .await?;
        newest.into_iter().rev().map(parse_record).collect()
    }
}

#[async_trait]
impl CardRecords for TaskStore {
    async fn find(&self, about: CardSubject) -> Result<Option<CardRecord>, StoreError> {
        self.tasks.find(&keys::card(about)).await
    }

    async fn begin_post(
        &self,
        about: CardSubject,
        card: &CardRecord,
    ) -> Result<Created<CardRecord>, StoreError> {
        let put = self
            .tasks
            .prepare_put(&keys::card(about), card)?
            .if_absent();
        Ok(match put.send().await? {
            Ok(_) => Created::New,
            Err(ConditionFailed(item)) => Created::Existing(parse_record(item)?),
        })
    }

    async fn save(&self, about: CardSubject, card: &CardRecord) -> Result<(), StoreError> {
        let put = self.tasks.prepare_put(&keys::card(about), card)?;
        put.send().await.map(drop)
    }
}
