//! The writes of a task's transition: the task, its agent's slot and gate, the agent's breaker, the
//! task's place in a queue, and the result.

use bematic::{
    agent::KeyId,
    error::StoreError,
    ports::{AttachedRecord, BreakerChange, ClaimConditions},
    task::{Task, TaskState},
};
use serde_dynamo::string_set::StringSet;

use super::{
    TaskStore,
    breakers::prepare_put_breaker,
    connections::if_not_revoked,
    keys::{self, Key},
    write::{Write, WriteLabel},
};

impl TaskStore {
    /// Returns the write of a task, with its attributes of the indexes `channel` and `due`.
    pub(super) fn prepare_put_task(&self, task: &Task) -> Result<Write, StoreError> {
        let mut put = self.tasks.prepare_put(&keys::task(task.id), task)?;
        if !task.archived {
            put = put
                .set(
                    "channelPk",
                    keys::channel_partition(&task.origin.channel_id),
                )?
                .set("channelSk", task.channel_sort_key())?;
        }
        put.set_due(due_partition(task), task.due_at())
    }

    /// Returns the writes of a transition: of the task, on condition that its version is that of
    /// `before`, and of other items. A claim has further conditions.
    pub(super) fn transition_writes(
        &self,
        before: &Task,
        after: &Task,
        attached: Option<AttachedRecord<'_>>,
        change: Option<BreakerChange<'_>>,
        conditions: Option<ClaimConditions<'_>>,
        key: Option<&KeyId>,
    ) -> Result<Vec<(WriteLabel, Write)>, StoreError> {
        let task = self.prepare_put_task(after)?.if_version(before.version)?;
        let mut writes = vec![(WriteLabel::Task, task)];

        // The agent's slots and gate: one write, since DynamoDB allows only one of an item.
        let mut agent = self.agents.prepare_update(keys::agent(&after.agent_id));
        match (before.slot(), after.slot()) {
            // Freeing a free slot changes nothing.
            (Some(slot), None) => {
                agent = agent.delete_from_set("held", StringSet([slot.to_string()]))?;
            }
            // An agent may run a task although an earlier report said that it had not arrived. The
            // slot is then taken even if the agent has none free.
            (None, Some(slot)) => {
                agent = agent.add_to_attribute("held", StringSet([slot.to_string()]))?;
            }
            _ => {}
        }
        if let Some(change) = change.filter(BreakerChange::changes_gate) {
            agent = agent.set("gate", change.after.gate())?;
        }
        if let Some(conditions) = conditions {
            agent = agent
                .when("#connection.#id = :connection")
                .set_placeholder_value(":connection", conditions.connection)?
                .when("attribute_not_exists(#held) OR size(#held) < #capacity")
                .when(match conditions.generation {
                    0 => "attribute_not_exists(#gate) OR #gate.#generation = :generation",
                    _ => "#gate.#generation = :generation",
                })
                .set_placeholder_value(":generation", conditions.generation)?;
        }
        if !agent.is_empty() {
            if let Some(key) = key {
                agent = agent.when(&if_not_revoked(key));
            }
            writes.push((WriteLabel::Agent, agent));
        }
        if let Some(change) = change {
            let breaker = prepare_put_breaker(&self.agents, &after.agent_id, change)?;
            writes.push((WriteLabel::Breaker, breaker));
        }

        let (left, taken) = queue_place_changes(before, after);
        if let Some(place) = taken {
            writes.push((WriteLabel::Place, self.tasks.prepare_put(&place, after)?));
        }
        if let Some(place) = left {
            writes.push((WriteLabel::Place, self.tasks.prepare_delete(place)));
        }
        let content = match attached {
            None => return Ok(writes),
            Some(AttachedRecord::Completion(completion)) => self
                .tasks
                .prepare_put(&keys::result(after.id), completion)?,
            Some(AttachedRecord::Late(report)) => {
                let key = keys::late_report(after.id, report.attempt);
                self.tasks.prepare_put(&key, report)?.if_absent()
            }
        };
        writes.push((WriteLabel::Content, content));
        Ok(writes)
    }
}

/// Returns a task's partition of the index `due`.
pub(super) fn due_partition(task: &Task) -> String {
    keys::shard_partition_of(keys::DUE_TASKS_LIST, &task.id.to_string())
}

/// Returns the task's place in a queue that is to be deleted, and the one that is to be written.
fn queue_place_changes(before: &Task, after: &Task) -> (Option<Key>, Option<Key>) {
    let place = |task: &Task| {
        matches!(task.state, TaskState::Pending { .. }).then(|| keys::queue_place(task))
    };
    let taken = place(after);
    let left = place(before).filter(|left| taken.as_ref() != Some(left));
    (left, taken)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::table::Item, *};
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
        let (left, taken) = queue_place_changes(before, after);
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
            let attempt = bematic_protocol::ids::Attempt::after_attempts(2);
            moved.earlier.insert("a".parse().unwrap(), attempt);
            let item: Item = serde_dynamo::to_item(&moved).unwrap();
            assert_eq!(serde_dynamo::from_item::<_, Task>(item).unwrap(), moved);
        }
        task.route = None;
        let item: Item = serde_dynamo::to_item(&task).unwrap();
        assert!(!item.contains_key("route") && !item.contains_key("earlier"));
    }
}
