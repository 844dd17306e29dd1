//! The repository of tasks: their records, specifications, results and late reports.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use bematic::{
    breaker::Breaker,
    error::StoreError,
    ports::{BreakerChange, Claim, Creation, DispatchPermit, Tasks, TransitionRecord, Written},
    task::{Completion, LateReport, Task, TaskSpec},
};
use bematic_protocol::ids::{AgentId, TaskId};
use serde::{Deserialize, Serialize};

use super::{
    expression::{Expression, check_exists},
    item::{Item, Record, attributes, item, number, read},
    keys::{self, Key},
    table::{Part, Table, Transacted, page, refused, took_place},
    transition::{claim_writes, put, put_new, put_task, related_writes, task_item},
};

/// How long a repeated request is recognised. Slack repeats a request for some 6 min.
pub(super) const REQUEST_KEPT: Duration = Duration::from_hours(24);
/// How long steps and output are kept.
pub(super) const REPORT_KEPT: Duration = Duration::from_hours(30 * 24);

/// Tasks in DynamoDB.
#[derive(Debug, Clone)]
pub struct TaskStore {
    pub(super) tasks: Table,
    pub(super) agents: String,
}

impl TaskStore {
    /// Creates the repository on the two tables.
    pub const fn new(client: Client, tasks: String, agents: String) -> Self {
        Self {
            tasks: Table::new(client, tasks),
            agents,
        }
    }
}

macro_rules! of_task {
    ($($record:ty => $key:path, $fields:expr);*) => {$(
        impl Record for $record {
            type Id = TaskId;
            const FIELDS: &'static [&'static str] = &$fields;
            fn key(id: &TaskId) -> Key {
                $key(*id)
            }
        }
    )*};
}

of_task!(
    Task => keys::task, ["shown", "version"];
    TaskSpec => keys::spec, [];
    Completion => keys::result, []
);

/// The task that a request of Slack created.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    task_id: TaskId,
}

impl Record for Request {
    type Id = str;
    fn key(id: &str) -> Key {
        keys::request(id)
    }
}

#[async_trait]
impl Tasks for TaskStore {
    async fn find(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.tasks.find(&id).await
    }

    async fn find_with_breaker(
        &self,
        id: TaskId,
        agent: &AgentId,
    ) -> Result<(Option<Task>, Breaker), StoreError> {
        let (task, breaker) = (keys::task(id), keys::breaker(agent));
        let keys = [
            (self.tasks.name.as_str(), &task),
            (self.agents.as_str(), &breaker),
        ];
        let mut found = self.tasks.get_of_tables(keys).await?;
        let task = found.remove(&task).map(|item| read(item, &task));
        let breaker = found.remove(&breaker).map(|item| read(item, &breaker));
        Ok((task.transpose()?, breaker.transpose()?.unwrap_or_default()))
    }

    async fn spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StoreError> {
        self.tasks.find(&id).await
    }

    async fn completion(&self, id: TaskId) -> Result<Option<Completion>, StoreError> {
        self.tasks.find(&id).await
    }

    async fn create(
        &self,
        task: &Task,
        spec: &TaskSpec,
        request: &str,
    ) -> Result<Creation, StoreError> {
        let kept = number((task.created_at + REQUEST_KEPT).as_secs());
        let record = Request { task_id: task.id };
        let index = attributes([("expiresAt", kept)]);
        let request_item = item(&keys::request(request), &record, index)?;
        let spec = item(&keys::spec(task.id), spec, Item::new())?;
        let place = item(&keys::queued(task), task, Item::new())?;
        let (tasks, agent) = (&self.tasks.name, keys::agent(&task.agent_id));
        let writes = vec![
            (Part::Request, put_new(tasks, request_item)?),
            (Part::Task, put_new(tasks, task_item(task)?)?),
            (Part::Content, put(tasks, spec)?),
            (Part::Place, put(tasks, place)?),
            (Part::Agent, check_exists(&self.agents, &agent)?),
        ];
        let first = match self.tasks.transact(writes).await? {
            Transacted::Done => return Ok(Creation::Done),
            // A repeated request is reported as one, also if another condition failed with it.
            Transacted::Refused(parts) if refused(&parts, Part::Request).is_some() => {
                self.tasks.find::<Request>(request).await?
            }
            Transacted::Refused(parts) if refused(&parts, Part::Agent).is_some() => {
                return Ok(Creation::NoAgent);
            }
            Transacted::Refused(_) => None,
        };
        match first {
            Some(first) => Ok(Creation::Repeated(first.task_id)),
            None => Err(StoreError::Corrupt {
                key: keys::task(task.id).to_string(),
                source: "the new task's id is taken".into(),
            }),
        }
    }

    async fn claim(
        &self,
        before: &Task,
        after: Task,
        permit: DispatchPermit<'_>,
    ) -> Result<Claim, StoreError> {
        let Some(slot) = after.slot() else {
            return Ok(Claim::TaskChanged);
        };
        let mut writes = vec![(Part::Task, put_task(&self.tasks.name, before, &after)?)];
        writes.extend(claim_writes(&self.agents, &after, slot, permit)?);
        writes.extend(related_writes(
            &self.tasks.name,
            &self.agents,
            before,
            &after,
            None,
            None,
        )?);
        match self.tasks.transact(writes).await? {
            Transacted::Done => Ok(Claim::Taken(Box::new(after))),
            Transacted::Refused(parts) => {
                let is_refused = |part| refused(&parts, part).is_some();
                Ok(if is_refused(Part::Task) {
                    Claim::TaskChanged
                } else if is_refused(Part::Agent) {
                    Claim::AgentUnavailable
                } else {
                    Claim::BreakerChanged
                })
            }
        }
    }

    async fn transition(
        &self,
        before: &Task,
        after: &Task,
        attached: Option<TransitionRecord<'_>>,
        change: Option<BreakerChange<'_>>,
    ) -> Result<Written, StoreError> {
        let related = related_writes(
            &self.tasks.name,
            &self.agents,
            before,
            after,
            attached,
            change,
        )?;
        if related.is_empty() {
            return self.put_alone(before, after).await;
        }
        let mut writes = vec![(Part::Task, put_task(&self.tasks.name, before, after)?)];
        writes.extend(related);
        Ok(match self.tasks.transact(writes).await? {
            Transacted::Done => Written::Done,
            Transacted::Refused(_) => Written::Conflict,
        })
    }

    async fn late_reports(&self, task: TaskId) -> Result<Vec<LateReport>, StoreError> {
        let prefix = keys::late_reports(task);
        let mut found = self.newest(&prefix, 100, None).await?.items;
        let mut reports: Vec<LateReport> = found
            .take()
            .unwrap_or_default()
            .into_iter()
            .map(|item| read(item, &prefix))
            .collect::<Result<_, _>>()?;
        reports.reverse();
        Ok(reports)
    }
}

impl TaskStore {
    /// Writes a transition that changes only the task's own item, without a transaction.
    async fn put_alone(&self, before: &Task, after: &Task) -> Result<Written, StoreError> {
        let same = Expression::version::<Task>(before.version);
        let put = self.tasks.put_when(task_item(after)?, same).await;
        Ok(if took_place(put)? {
            Written::Done
        } else {
            Written::Conflict
        })
    }

    /// Returns a page of the items whose sort key begins with `prefix`, newest first.
    pub(super) async fn newest(
        &self,
        prefix: &Key,
        limit: i32,
        from: Option<Item>,
    ) -> Result<aws_sdk_dynamodb::operation::query::QueryOutput, StoreError> {
        let values = [(":pk", &*prefix.pk), (":prefix", &prefix.sk)];
        let query = self
            .tasks
            .query("pk = :pk AND begins_with(sk, :prefix)", values)
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(limit);
        page(query.set_exclusive_start_key(from)).await
    }
}
