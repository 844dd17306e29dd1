//! A transition as what is to be written: the task, its place in the queue, its agent's slot.

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Delete, TransactWriteItem, Update},
};

use super::{
    keys::{self, Key},
    table::{Item, Table, attributes, item, number, text},
};
use crate::{
    error::StoreError,
    ids::ConnectionId,
    task::{Completion, Slot, Task, TaskState},
};

fn unwritable(error: BuildError) -> StoreError {
    StoreError::Unwritable {
        source: Box::new(error),
    }
}

/// A task with its place in the index `channel`.
pub(super) fn task_item(task: &Task) -> Result<Item, StoreError> {
    let index = attributes([
        ("channelPk", text(keys::channel(&task.origin.channel_id))),
        ("channelSk", text(keys::in_channel(task))),
    ]);
    item(&keys::task(task.id), task, index)
}

/// Every write repeats the version that it was decided on.
pub(super) const SAME_VERSION: &str = "#version = :version";

/// The task after a transition, on condition that it is still the one before.
pub(super) fn put_task(
    tasks: &Table,
    before: &Task,
    after: &Task,
) -> Result<TransactWriteItem, StoreError> {
    let put = tasks
        .transact_put(task_item(after)?)
        .condition_expression(SAME_VERSION)
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":version", number(before.version))
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A record that goes along.
pub(super) fn put(tasks: &Table, item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = tasks.transact_put(item).build().map_err(unwritable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A record that must not be there yet.
pub(super) fn put_new(tasks: &Table, item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = tasks
        .transact_put(item)
        .condition_expression("attribute_not_exists(pk)")
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// What changes beside the task itself; nothing for most transitions.
pub(super) fn beside(
    tasks: &Table,
    agents: &str,
    before: &Task,
    after: &Task,
    completion: Option<&Completion>,
) -> Result<Vec<TransactWriteItem>, StoreError> {
    let mut writes = Vec::new();
    match (is_queued(before), is_queued(after)) {
        (_, true) => writes.push(put(tasks, item(&keys::queued(after), after, Item::new())?)?),
        (true, false) => writes.push(delete(tasks, &keys::queued(before))?),
        (false, false) => {}
    }
    if let (Some(slot), None) = (before.slot(), after.slot()) {
        writes.push(free_slot(agents, after, slot)?);
    }
    if let Some(completion) = completion {
        writes.push(put(
            tasks,
            item(&keys::result(after.id), completion, Item::new())?,
        )?);
    }
    Ok(writes)
}

const fn is_queued(task: &Task) -> bool {
    matches!(task.state, TaskState::Pending { .. })
}

fn delete(tasks: &Table, key: &Key) -> Result<TransactWriteItem, StoreError> {
    let delete = Delete::builder()
        .table_name(&tasks.name)
        .key("pk", text(&key.pk))
        .key("sk", text(&key.sk))
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

fn held(slot: Slot) -> AttributeValue {
    AttributeValue::Ss(vec![slot.to_string()])
}

/// Freeing a slot that is free changes nothing.
fn free_slot(agents: &str, task: &Task, slot: Slot) -> Result<TransactWriteItem, StoreError> {
    let key = keys::agent(&task.agent_id);
    let update = Update::builder()
        .table_name(agents)
        .key("pk", text(key.pk))
        .key("sk", text(key.sk))
        .update_expression("DELETE #held :slot")
        .expression_attribute_names("#held", "held")
        .expression_attribute_values(":slot", held(slot))
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().update(update).build())
}

/// Takes a slot, if the agent has one free and is still on `connection`.
pub(super) fn take_slot(
    agents: &str,
    task: &Task,
    slot: Slot,
    connection: &ConnectionId,
) -> Result<TransactWriteItem, StoreError> {
    let key = keys::agent(&task.agent_id);
    let update = Update::builder()
        .table_name(agents)
        .key("pk", text(key.pk))
        .key("sk", text(key.sk))
        .update_expression("ADD #held :slot")
        .condition_expression(
            "#connection.#id = :connection \
             AND (attribute_not_exists(#held) OR size(#held) < #capacity)",
        )
        .expression_attribute_names("#held", "held")
        .expression_attribute_names("#connection", "connection")
        .expression_attribute_names("#id", "id")
        .expression_attribute_names("#capacity", "capacity")
        .expression_attribute_values(":slot", held(slot))
        .expression_attribute_values(":connection", text(connection.as_str()))
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().update(update).build())
}
