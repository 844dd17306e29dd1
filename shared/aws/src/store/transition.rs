//! The writes of a task's transition: the task, its place in a queue, its agent's slot and gate,
//! the agent's breaker, and the result.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use bematic::{
    agent::Agent,
    breaker::{Breaker, Gate},
    error::StoreError,
    ports::{BreakerChange, DispatchPermit, TransitionRecord},
    task::{Slot, Task, TaskState},
};
use bematic_protocol::ids::AgentId;

use super::{
    expression::{Expression, delete},
    item::{Item, attributes, item, map, number, text},
    keys::{self, Key},
    table::Part,
};

/// Returns a task's item, with its attributes of the indexes `channel` and `due`.
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

/// Returns the write of a task after a transition, on condition that its version is that of
/// `before`.
pub(super) fn put_task(
    table: &str,
    before: &Task,
    after: &Task,
) -> Result<TransactWriteItem, StoreError> {
    Expression::version::<Task>(before.version).put_of(table, task_item(after)?)
}

/// Returns the write of an item without a condition.
pub(super) fn put(table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
    Expression::always().put_of(table, item)
}

/// Returns the write of an item that must not exist yet.
pub(super) fn put_new(table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
    Expression::absent().put_of(table, item)
}

/// Returns the writes of a transition to other items than the task's own. Most transitions have
/// none.
pub(super) fn related_writes(
    tasks: &str,
    agents: &str,
    before: &Task,
    after: &Task,
    attached: Option<TransitionRecord<'_>>,
    change: Option<BreakerChange<'_>>,
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
        // The agent runs the task although an earlier report said that it had not arrived. The slot
        // is taken even if the agent has none free.
        (None, Some(slot)) if matches!(after.state, TaskState::Processing { .. }) => {
            Some(SlotChange::Take(slot))
        }
        _ => None,
    };
    let agent = &after.agent_id;
    let update = update_agent(agents, agent, slot, change)?;
    writes.extend(update.map(|update| (Part::Agent, update)));
    if let Some(change) = change {
        writes.push((Part::Breaker, put_breaker(agents, agent, change)?));
    }
    match attached {
        None => {}
        Some(TransitionRecord::Completion(completion)) => {
            let key = keys::result(after.id);
            let result = item(&key, completion, Item::new())?;
            writes.push((Part::Content, put(tasks, result)?));
        }
        Some(TransitionRecord::Late(report)) => {
            let key = keys::late_report(after.id, report.attempt);
            let report = item(&key, report, Item::new())?;
            writes.push((Part::Content, put_new(tasks, report)?));
        }
    }
    Ok(writes)
}

/// Returns the task's place in a queue that is to be deleted, and the one that is to be written.
fn places(before: &Task, after: &Task) -> (Option<Key>, Option<Key>) {
    let place = |task: &Task| is_queued(task).then(|| keys::queued(task));
    let taken = place(after);
    let left = place(before).filter(|left| taken.as_ref() != Some(left));
    (left, taken)
}

const fn is_queued(task: &Task) -> bool {
    matches!(task.state, TaskState::Pending { .. })
}

/// A change of an agent's slots.
#[derive(Debug, Clone, Copy)]
pub(super) enum SlotChange {
    /// Frees a slot. Freeing a free slot changes nothing.
    Free(Slot),
    /// Takes a slot.
    Take(Slot),
}

/// Returns the write of the agent's record, if its slots or its gate change. It is one write, since
/// DynamoDB allows only one of an item in a transaction.
pub(super) fn update_agent(
    agents: &str,
    agent: &AgentId,
    slot: Option<SlotChange>,
    change: Option<BreakerChange<'_>>,
) -> Result<Option<TransactWriteItem>, StoreError> {
    let gate = change
        .filter(BreakerChange::changes_gate)
        .map(|change| change.after.gate());
    if slot.is_none() && gate.is_none() {
        return Ok(None);
    }
    let change = agent_change(slot, gate)?;
    Ok(Some(change.update_of(agents, &keys::agent(agent))?))
}

/// Returns the update of an agent's slots and gate.
fn agent_change(slot: Option<SlotChange>, gate: Option<Gate>) -> Result<Expression, StoreError> {
    let mut change = Expression::on::<Agent>();
    if let Some(gate) = gate {
        change = change
            .update("SET gate = :gate")
            .value(":gate", map(&gate)?);
    }
    let slot = match slot {
        None => return Ok(change),
        Some(SlotChange::Free(slot)) => {
            change = change.update("DELETE held :slot");
            slot
        }
        Some(SlotChange::Take(slot)) => {
            change = change.update("ADD held :slot");
            slot
        }
    };
    Ok(change.value(":slot", AttributeValue::Ss(vec![slot.to_string()])))
}

/// Returns the write of a breaker, on condition that its version is still that of `change.before`.
pub(super) fn put_breaker(
    agents: &str,
    agent: &AgentId,
    change: BreakerChange<'_>,
) -> Result<TransactWriteItem, StoreError> {
    let item = item(&keys::breaker(agent), change.after, Item::new())?;
    let same = match change.before.version {
        0 => Expression::absent(),
        version => Expression::version::<Breaker>(version),
    };
    same.put_of(agents, item)
}

/// Returns the writes of a breaker that changes without a task: the breaker, and the gate in the
/// agent's record.
pub(super) fn breaker_writes(
    agents: &str,
    agent: &AgentId,
    change: BreakerChange<'_>,
) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
    let mut writes = vec![(Part::Breaker, put_breaker(agents, agent, change)?)];
    let update = update_agent(agents, agent, None, Some(change))?;
    writes.extend(update.map(|update| (Part::Agent, update)));
    Ok(writes)
}

/// Returns the writes of a claim to the agent's records: a slot of the agent, on condition that one
/// is free, the agent's connection is the same and its gate has not changed; and the breaker, if
/// the claim takes a permit of it.
pub(super) fn claim_writes(
    agents: &str,
    task: &Task,
    slot: Slot,
    permit: DispatchPermit<'_>,
) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
    let gate = permit.change.filter(BreakerChange::changes_gate);
    let gate = gate.map(|change| change.after.gate());
    let unchanged = if permit.generation == 0 {
        "(attribute_not_exists(gate) OR gate.generation = :generation)"
    } else {
        "gate.generation = :generation"
    };
    let update = agent_change(Some(SlotChange::Take(slot)), gate)?
        .when("connection.id = :connection")
        .when("(attribute_not_exists(held) OR size(held) < capacity)")
        .when(unchanged)
        .value(":connection", text(permit.connection.as_str()))
        .value(":generation", number(permit.generation))
        .update_of(agents, &keys::agent(&task.agent_id))?;
    let mut writes = vec![(Part::Agent, update)];
    if let Some(change) = permit.change {
        let breaker = put_breaker(agents, &task.agent_id, change)?;
        writes.push((Part::Breaker, breaker));
    }
    Ok(writes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use bematic::{
        agent::Route,
        task::{Origin, TaskEvent, TaskPolicy, TaskSpec},
    };
    use bematic_protocol::{ids::TaskId, time::Timestamp};

    pub(in super::super) fn new_task(agent: &str) -> Task {
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

    /// Returns the queues of the places that a transition deletes and writes.
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
        let moved = after(&waiting, TaskEvent::Moved("b".parse().unwrap()));
        assert_eq!(queues(&waiting, &moved), (a.clone(), b));
        // The copy is rewritten with the task, and is not deleted in the same transaction.
        assert_eq!(queues(&waiting, &waiting.with_late_report()), (None, a));
        assert_eq!(queues(&sent, &sent), (None, None));
    }

    #[test]
    fn a_tasks_route_and_earlier_agents_are_stored() {
        let mut task = new_task("a");
        for route in ["a,b", "any"] {
            task.route = Some(route.parse::<Route>().unwrap());
            let mut moved = after(&task, TaskEvent::Moved("b".parse().unwrap()));
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
