//! A transition as what is to be written: the task, its place in the queue, its agent's slot.

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{
        AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update,
        builders::UpdateBuilder,
    },
};
use bematic::{
    breaker::Gate,
    error::StoreError,
    ports::{Kept, Pass, Turn},
    task::{Slot, Task, TaskState},
};
use bematic_protocol::ids::AgentId;

use super::{
    keys::{self, Key},
    table::{Item, Part, attributes, item, number, text},
};

pub(super) fn unwritable(error: BuildError) -> StoreError {
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
    table: &str,
    before: &Task,
    after: &Task,
) -> Result<TransactWriteItem, StoreError> {
    put_same(table, task_item(after)?, before.version)
}

/// A record in place of its `version`.
pub(super) fn put_same(
    table: &str,
    item: Item,
    version: u64,
) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression(SAME_VERSION)
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":version", number(version))
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A record that goes along.
pub(super) fn put(table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = put.build().map_err(unwritable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A record that must not be there yet.
pub(super) fn put_new(table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk)")
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A record that must be there, and stays what it is.
pub(super) fn check_exists(table: &str, key: Key) -> Result<TransactWriteItem, StoreError> {
    let check = ConditionCheck::builder()
        .table_name(table)
        .key("pk", text(key.pk))
        .key("sk", text(key.sk))
        .condition_expression("attribute_exists(pk)")
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}

/// What changes beside the task itself; nothing for most transitions.
pub(super) fn beside(
    tasks: &str,
    agents: &str,
    before: &Task,
    after: &Task,
    kept: Option<Kept<'_>>,
    turn: Option<Turn<'_>>,
) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
    let mut writes = Vec::new();
    let (left, taken) = places(before, after);
    if let Some(place) = taken {
        let place = item(&place, after, Item::new())?;
        writes.push((Part::Place, put(tasks, place)?));
    }
    if let Some(place) = left {
        writes.push((Part::Place, delete(tasks, &place)?));
    }
    let slot = match (before.slot(), after.slot()) {
        (Some(slot), None) => Some(SlotChange::Free(slot)),
        // It runs there already, though it was said not to have arrived: whether there is room
        // for it is no question any more.
        (None, Some(slot)) if matches!(after.state, TaskState::Processing { .. }) => {
            Some(SlotChange::Take(slot))
        }
        _ => None,
    };
    let agent = &after.agent_id;
    let update = update_agent(agents, agent, slot, turn)?;
    writes.extend(update.map(|update| (Part::Agent, update)));
    if let Some(turn) = turn {
        writes.push((Part::Breaker, put_breaker(agents, agent, turn)?));
    }
    match kept {
        None => {}
        Some(Kept::Completion(completion)) => {
            let key = keys::result(after.id);
            let result = item(&key, completion, Item::new())?;
            writes.push((Part::Content, put(tasks, result)?));
        }
        Some(Kept::Late(report)) => {
            let key = keys::late_report(after.id, report.attempt);
            let report = item(&key, report, Item::new())?;
            writes.push((Part::Content, put_new(tasks, report)?));
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

fn delete(table: &str, key: &Key) -> Result<TransactWriteItem, StoreError> {
    let delete = Delete::builder()
        .table_name(table)
        .key("pk", text(&key.pk))
        .key("sk", text(&key.sk))
        .build()
        .map_err(unwritable)?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

/// What becomes of an agent's slot.
#[derive(Debug, Clone, Copy)]
pub(super) enum SlotChange {
    /// Freeing a slot that is free changes nothing.
    Free(Slot),
    Take(Slot),
}

/// The agent's record: its slot, and what its breaker lets through. One write, since a transaction
/// can have no two of one item.
pub(super) fn update_agent(
    agents: &str,
    agent: &AgentId,
    slot: Option<SlotChange>,
    turn: Option<Turn<'_>>,
) -> Result<Option<TransactWriteItem>, StoreError> {
    let gate = turn.filter(Turn::moves_gate).map(|turn| turn.after.gate());
    if slot.is_none() && gate.is_none() {
        return Ok(None);
    }
    let update = agent_update(agents, agent, slot, gate)?;
    let update = update.build().map_err(unwritable)?;
    Ok(Some(TransactWriteItem::builder().update(update).build()))
}

fn agent_update(
    agents: &str,
    agent: &AgentId,
    slot: Option<SlotChange>,
    gate: Option<Gate>,
) -> Result<UpdateBuilder, StoreError> {
    let key = keys::agent(agent);
    let mut update = Update::builder()
        .table_name(agents)
        .key("pk", text(key.pk))
        .key("sk", text(key.sk));
    let mut expression = String::new();
    if let Some(gate) = gate {
        let gate =
            serde_dynamo::to_attribute_value(gate).map_err(|error| StoreError::Unwritable {
                source: Box::new(error),
            })?;
        expression.push_str("SET #gate = :gate ");
        update = update
            .expression_attribute_names("#gate", "gate")
            .expression_attribute_values(":gate", gate);
    }
    if let Some(slot) = slot {
        let (verb, slot) = match slot {
            SlotChange::Free(slot) => ("DELETE", slot),
            SlotChange::Take(slot) => ("ADD", slot),
        };
        expression.push_str(verb);
        expression.push_str(" #held :slot");
        update = update
            .expression_attribute_names("#held", "held")
            .expression_attribute_values(":slot", AttributeValue::Ss(vec![slot.to_string()]));
    }
    Ok(update.update_expression(expression))
}

/// The breaker, on condition that it is still the one before.
pub(super) fn put_breaker(
    agents: &str,
    agent: &AgentId,
    turn: Turn<'_>,
) -> Result<TransactWriteItem, StoreError> {
    let item = item(&keys::breaker(agent), turn.after, Item::new())?;
    let put = Put::builder().table_name(agents).set_item(Some(item));
    let put = if turn.before.version == 0 {
        put.condition_expression("attribute_not_exists(pk)")
    } else {
        put.condition_expression(SAME_VERSION)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(turn.before.version))
    };
    let put = put.build().map_err(unwritable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A breaker by itself, and what it lets through.
pub(super) fn turn_breaker(
    agents: &str,
    agent: &AgentId,
    turn: Turn<'_>,
) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
    let mut writes = vec![(Part::Breaker, put_breaker(agents, agent, turn)?)];
    let update = update_agent(agents, agent, None, Some(turn))?;
    writes.extend(update.map(|update| (Part::Agent, update)));
    Ok(writes)
}

/// Takes a slot, if the agent has one free, is still on the connection, and its gate has not moved
/// since; with it, the breaker's permit if it takes one.
pub(super) fn pass(
    agents: &str,
    task: &Task,
    slot: Slot,
    pass: Pass<'_>,
) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
    let gate = pass.turn.filter(Turn::moves_gate);
    let gate = gate.map(|turn| turn.after.gate());
    let unmoved = if pass.generation == 0 {
        "(attribute_not_exists(#gate) OR #gate.#generation = :generation)"
    } else {
        "#gate.#generation = :generation"
    };
    let update = agent_update(agents, &task.agent_id, Some(SlotChange::Take(slot)), gate)?
        .condition_expression(format!(
            "#connection.#id = :connection \
             AND (attribute_not_exists(#held) OR size(#held) < #capacity) AND {unmoved}"
        ))
        .expression_attribute_names("#connection", "connection")
        .expression_attribute_names("#id", "id")
        .expression_attribute_names("#capacity", "capacity")
        .expression_attribute_names("#gate", "gate")
        .expression_attribute_names("#generation", "generation")
        .expression_attribute_values(":connection", text(pass.connection.as_str()))
        .expression_attribute_values(":generation", number(pass.generation))
        .build()
        .map_err(unwritable)?;
    let update = TransactWriteItem::builder().update(update).build();
    let mut writes = vec![(Part::Agent, update)];
    if let Some(turn) = pass.turn {
        let breaker = put_breaker(agents, &task.agent_id, turn)?;
        writes.push((Part::Breaker, breaker));
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bematic::{
        agent::Route,
        task::{Origin, TaskEvent, TaskPolicy, TaskSpec},
    };
    use bematic_protocol::{ids::TaskId, time::Timestamp};

    fn new_task(agent: &str) -> Task {
        let origin = Origin {
            channel_id: "C1".parse().unwrap(),
            thread_ts: None,
            user_id: "U1".parse().unwrap(),
        };
        let spec: TaskSpec = serde_json::from_value(serde_json::json!({ "projectId": "web",
            "botName": "Bematic", "command": "run", "prompt": "do it", "systemPrompt": "",
            "localPath": "/srv/web", "model": "default", "maxBudget": 5.0, "allowedTools": [] }))
        .unwrap();
        let (id, agent) = (TaskId::new(uuid::Uuid::max()), agent.parse().unwrap());
        let start = Timestamp::from_millis(0);
        Task::new(id, agent, &spec, origin, &TaskPolicy::default(), start)
    }

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
            let attempt = bematic_protocol::ids::Attempt::after(2);
            moved.earlier.insert("a".parse().unwrap(), attempt);
            let stored: Task = serde_dynamo::from_item(task_item(&moved).unwrap()).unwrap();
            assert_eq!(stored, moved);
        }
        task.route = None;
        let item = task_item(&task).unwrap();
        assert!(!item.contains_key("route") && !item.contains_key("earlier"));
    }
}
