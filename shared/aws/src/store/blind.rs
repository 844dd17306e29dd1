//! Blind writes: the conditions and updates that say the same as [`Task::begun`] and
//! [`Task::finished`].

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use bematic::{
    breaker::{Said, report_finish},
    error::StoreError,
    ports::{Blind, Turn},
    task::{Begin, Ending, Finish, Lease, SHOWN_WITHIN, Task},
};
use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    time::Timestamp,
};

use super::{
    agents::map,
    breakers::logged_item,
    keys,
    table::{Item, Refusal, Transacted, item, number, read, retry, text},
    tasks::TaskStore,
    transition::{SlotChange, put, put_breaker, unwritable, update_agent},
};

/// What a blind write sets besides: Slack is to show it, and the sweeper sees to that.
const CHANGED: &str = "updatedAt = :now, version = version + :one, duePk = :duePk, dueSk = :dueSk";

fn due_at(now: Timestamp) -> AttributeValue {
    text((now + SHOWN_WITHIN).to_string())
}

impl TaskStore {
    pub(super) async fn begin_blindly(
        &self,
        begin: &Begin<'_>,
    ) -> Result<Blind<Box<Task>>, StoreError> {
        let Begin {
            task_id,
            agent,
            attempt,
            said_at,
            lease,
            now,
        } = *begin;
        let key = keys::task(task_id);
        let first = Lease {
            heard_at: now,
            since: said_at,
            ends_early_at: None,
        };
        let ms =
            |duration: Duration| number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let mut condition = "agentId = :agent AND #status = :dispatched \
                             AND attribute_not_exists(#cancel) AND "
            .to_owned();
        condition.push_str(if lease < SHOWN_WITHIN {
            "leaseMs >= :shownWithin"
        } else {
            "(attribute_not_exists(leaseMs) OR leaseMs >= :shownWithin)"
        });
        let mut update = self
            .tasks
            .client
            .update_item()
            .table_name(&self.tasks.name)
            .key("pk", text(&key.pk))
            .key("sk", text(&key.sk))
            .update_expression(format!(
                "SET #status = :processing, startedAt = :now, #lease = :begun, \
                 #timer = :now + if_not_exists(leaseMs, :lease), {CHANGED} REMOVE dispatchedAt"
            ))
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#cancel", "cancel")
            .expression_attribute_names("#lease", "lease")
            .expression_attribute_names("#timer", "timer")
            .expression_attribute_values(":agent", text(agent.as_str()))
            .expression_attribute_values(":dispatched", text("dispatched"))
            .expression_attribute_values(":processing", text("processing"))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":begun", map(&first)?)
            .expression_attribute_values(":lease", ms(lease))
            .expression_attribute_values(":shownWithin", ms(SHOWN_WITHIN))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":duePk", text(keys::due(task_id)))
            .expression_attribute_values(":dueSk", due_at(now));
        if let Some(attempt) = attempt {
            condition.push_str(" AND attempt = :attempt");
            let number = number(attempt.number().into());
            update = update.expression_attribute_values(":attempt", number);
        }
        let update = update
            .condition_expression(condition)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(answer) => {
                let task = read(answer.attributes.unwrap_or_default(), &key)?;
                Ok(Blind::Done(Box::new(task)))
            }
            Err(Refusal::Condition(item)) => unusual(task_id, item),
            Err(Refusal::Error(error)) => Err(error),
        }
    }

    pub(super) async fn finish_blindly(
        &self,
        finish: &Finish<'_>,
        turn: Option<Turn<'_>>,
    ) -> Result<Blind<()>, StoreError> {
        let mut writes = vec![self.finish_task(finish)?];
        if let Some(completion) = finish.ending.completion() {
            let result = item(&keys::result(finish.task_id), completion, Item::new())?;
            writes.push(put(&self.tasks.name, result)?);
        }
        match report_finish(finish) {
            Said::Beside(ignored) => {
                let logged = logged_item(finish, ignored)?;
                writes.push(self.free_slot(finish)?);
                writes.push(put(&self.agents, logged)?);
            }
            Said::Event(_) => {
                let free = Some(SlotChange::Free(finish.slot()));
                writes.extend(update_agent(&self.agents, finish.agent, free, turn)?);
                if let Some(turn) = turn {
                    writes.push(put_breaker(&self.agents, finish.agent, turn)?);
                }
            }
        }
        match self.tasks.transact(writes).await? {
            Transacted::Done => Ok(Blind::Done(())),
            Transacted::Refused(failed) => match failed.into_iter().next().flatten() {
                Some(task) => unusual(finish.task_id, task),
                None => Ok(Blind::Unusual(None)),
            },
        }
    }

    fn finish_task(&self, finish: &Finish<'_>) -> Result<TransactWriteItem, StoreError> {
        let Finish {
            task_id,
            agent,
            attempt,
            now,
            ..
        } = *finish;
        let key = keys::task(task_id);
        let update = Update::builder()
            .table_name(&self.tasks.name)
            .key("pk", text(key.pk))
            .key("sk", text(key.sk))
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#cancel", "cancel")
            .expression_attribute_names("#lease", "lease")
            .expression_attribute_names("#timer", "timer")
            .expression_attribute_values(":agent", text(agent.as_str()))
            .expression_attribute_values(":processing", text("processing"))
            .expression_attribute_values(":attempt", number(attempt.number().into()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":duePk", text(keys::due(task_id)))
            .expression_attribute_values(":dueSk", due_at(now));
        let (mut set, mut remove) = (String::new(), "");
        let (usual, update) = match finish.ending {
            Ending::Completed(_) => {
                let since = number(finish.not_slow_since().as_millis());
                let update = update.expression_attribute_values(":notSlowSince", since);
                let usual = "attribute_not_exists(#cancel) AND startedAt >= :notSlowSince";
                (usual, update)
            }
            Ending::Failed(failure) => {
                set.push_str(", #failure = :failure");
                let update = update
                    .expression_attribute_names("#failure", "failure")
                    .expression_attribute_values(":failure", map(failure)?);
                ("attribute_not_exists(#cancel)", update)
            }
            Ending::Cancelled(reason) => {
                set.push_str(", #by = #cancel.#by");
                remove = ", #cancel";
                let mut update = update.expression_attribute_names("#by", "by");
                if let Some(reason) = reason {
                    set.push_str(", #reason = :reason");
                    update = update
                        .expression_attribute_names("#reason", "reason")
                        .expression_attribute_values(":reason", text(reason));
                }
                ("attribute_exists(#cancel)", update)
            }
        };
        let update = update
            .update_expression(format!(
                "SET #status = :ended, finishedAt = :now, toldAt = :now, reported = :attempt, \
                 {CHANGED}{set} REMOVE spent, #lease, #timer{remove}"
            ))
            .condition_expression(format!(
                "agentId = :agent AND #status = :processing AND attempt = :attempt AND {usual}"
            ))
            .expression_attribute_values(":ended", text(<&str>::from(finish.ending)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(unwritable)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// On condition that the agent's breaker lets all work through and does not ask how long it
    /// takes.
    fn free_slot(&self, finish: &Finish<'_>) -> Result<TransactWriteItem, StoreError> {
        let key = keys::agent(finish.agent);
        let slot = AttributeValue::Ss(vec![finish.slot().to_string()]);
        let update = Update::builder()
            .table_name(&self.agents)
            .key("pk", text(key.pk))
            .key("sk", text(key.sk))
            .update_expression("DELETE #held :slot")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(#gate) \
                 OR (#gate.#passage.#lets = :all AND attribute_not_exists(#gate.#timed)))",
            )
            .expression_attribute_names("#held", "held")
            .expression_attribute_names("#gate", "gate")
            .expression_attribute_names("#passage", "passage")
            .expression_attribute_names("#lets", "lets")
            .expression_attribute_names("#timed", "timed")
            .expression_attribute_values(":slot", slot)
            .expression_attribute_values(":all", text("all"))
            .build()
            .map_err(unwritable)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    pub(super) async fn is_run_by(
        &self,
        id: TaskId,
        attempt: Attempt,
        agent: &AgentId,
    ) -> Result<bool, StoreError> {
        let task: Option<Task> = self.tasks.find_lagging(&id).await?;
        Ok(task.is_some_and(|task| task.runs(attempt, agent)))
    }
}

/// The task that was not as usual, if DynamoDB showed it.
fn unusual<T>(id: TaskId, item: Item) -> Result<Blind<T>, StoreError> {
    if item.is_empty() {
        return Ok(Blind::Unusual(None));
    }
    let task = read(item, &keys::task(id))?;
    Ok(Blind::Unusual(Some(Box::new(task))))
}
