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
    ports::Kept,
    task::{Slot, Task, TaskState},
};

fn unwritable(error: BuildError) -> StoreError {
    StoreError::Unwritable {
        source: Box::new(error),
    }
}

/// A task with its places in the indexes `channel` and `due`.
pub(super) fn task_item(task: &Task) -> Result<Item, StoreError> {
    let mut index = Item::new();
    if !task.archived {
        index.extend(attributes([
            ("channelPk", text(keys::channel(&task.origin.channel_id))),
            ("channelSk", text(task.place())),
        ]));
    }
    if let Some(at) = task.due_at() {
        index.extend(attributes([
            ("duePk", text(keys::due(task.id))),
            ("dueSk", text(at.to_string())),
        ]));
    }
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
    put_same(tasks, task_item(after)?, before.version)
}

/// A record in place of its `version`.
pub(super) fn put_same(
    tasks: &Table,
    item: Item,
    version: u64,
) -> Result<TransactWriteItem, StoreError> {
    let put = tasks
        .transact_put(item)
        .condition_expression(SAME_VERSION)
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":version", number(version))
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
    kept: Option<Kept<'_>>,
) -> Result<Vec<TransactWriteItem>, StoreError> {
    let mut writes = Vec::new();
    let (left, taken) = places(before, after);
    if let Some(place) = taken {
        writes.push(put(tasks, item(&place, after, Item::new())?)?);
    }
    if let Some(place) = left {
        writes.push(delete(tasks, &place)?);
    }
    match (before.slot(), after.slot()) {
        (Some(slot), None) => writes.push(free_slot(agents, after, slot)?),
        // It runs there already, though it was said not to have arrived: whether there is room
        // for it is no question any more.
        (None, Some(slot)) if matches!(after.state, TaskState::Processing { .. }) => {
            writes.push(add_slot(agents, after, slot)?);
        }
        _ => {}
    }
    match kept {
        None => {}
        Some(Kept::Completion(completion)) => {
            let key = keys::result(after.id);
            writes.push(put(tasks, item(&key, completion, Item::new())?)?);
        }
        Some(Kept::Late(report)) => {
            let key = keys::late_report(after.id, report.attempt);
            writes.push(put_new(tasks, item(&key, report, Item::new())?)?);
        }
    }
    Ok(writes)
}

/// The place in a queue that the task leaves, and the one that is written.
fn places(before: &Task, after: &Task) -> (Option<Key>, Option<Key>) {
    let place = |task: &Task| is_queued(task).then(|| keys::queued(task));
    let taken = place(after);
    let left = place(before).filter(|left| taken.as_ref() != Some(left));
    (left, taken)
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

fn add_slot(agents: &str, task: &Task, slot: Slot) -> Result<TransactWriteItem, StoreError> {
    let key = keys::agent(&task.agent_id);
    let update = Update::builder()
        .table_name(agents)
        .key("pk", text(key.pk))
        .key("sk", text(key.sk))
        .update_expression("ADD #held :slot")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::Route,
        task::{TaskEvent, TaskPolicy},
        testing::new_task,
        time::Timestamp,
    };

    fn after(task: &Task, event: TaskEvent) -> Task {
        let now = Timestamp::from_millis(2);
        task.after(event, &TaskPolicy::default(), now).unwrap()
    }

    /// Of the places that are left and taken, whose queue they are in.
    fn queues(before: &Task, after: &Task) -> (Option<String>, Option<String>) {
        let (left, taken) = places(before, after);
        (left.map(|key| key.pk), taken.map(|key| key.pk))
    }

    #[test]
    fn a_task_has_one_place_in_one_queue_while_it_waits() {
        let waiting = new_task("a");
        let (a, b) = (Some("QUEUE#a".to_owned()), Some("QUEUE#b".to_owned()));
        let sent = after(&waiting, TaskEvent::Claimed);
        assert_eq!(queues(&waiting, &sent), (a.clone(), None));
        let moved = after(&waiting, TaskEvent::Rerouted("b".parse().unwrap()));
        assert_eq!(queues(&waiting, &moved), (a.clone(), b));
        // The copy follows the task; what is written is not deleted.
        assert_eq!(queues(&waiting, &waiting.with_late_report()), (None, a));
        assert_eq!(queues(&sent, &sent), (None, None));
    }

    #[test]
    fn where_a_task_may_go_and_has_been_is_stored() {
        let mut task = new_task("a");
        for route in ["a,b", "any"] {
            task.route = Some(route.parse::<Route>().unwrap());
            let mut moved = after(&task, TaskEvent::Rerouted("b".parse().unwrap()));
            let attempt = crate::ids::Attempt::after(2);
            moved.earlier.insert("a".parse().unwrap(), attempt);
            let stored: Task = serde_dynamo::from_item(task_item(&moved).unwrap()).unwrap();
            assert_eq!(stored, moved);
        }
        task.route = None;
        let item = task_item(&task).unwrap();
        assert!(!item.contains_key("route") && !item.contains_key("earlier"));
    }
}
