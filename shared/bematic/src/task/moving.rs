//! Moving a task from one agent to another, and the attempts of earlier agents.

use bematic_protocol::{
    ids::{AgentId, Attempt},
    time::Timestamp,
};

use super::{MOVE_CHECK_AFTER, Task, TaskEvent, TaskPolicy, Unchanged};
use crate::agent::Route;

impl Task {
    /// Whether the task may be moved: it waits, was not sent, and its route leaves a choice.
    pub(crate) fn may_move(&self) -> bool {
        self.state.is_pending_unsent() && self.route.as_ref().is_some_and(Route::has_choice)
    }

    /// Returns the time at which a waiting task is first checked for a better agent; later checks
    /// are after growing intervals.
    pub(crate) fn first_move_check_at(&self) -> Option<Timestamp> {
        self.may_move().then(|| self.updated_at + MOVE_CHECK_AFTER)
    }

    /// Whether the agent has the task, or was sent it before it was moved.
    pub(crate) fn is_known_to(&self, agent: &AgentId) -> bool {
        self.agent_id == *agent || self.earlier.contains_key(agent)
    }

    /// Whether the agent was sent the task, and another agent has it now or has ended it.
    pub(crate) fn was_taken_over_from(&self, agent: &AgentId) -> bool {
        let gone = self.agent_id != *agent && self.earlier.contains_key(agent);
        gone && (self.state.held_attempt().is_some() || self.state.is_terminal())
    }

    /// Returns the newest attempt that this agent was sent. Attempts are numbered across agents.
    pub fn last_attempt_of(&self, agent: &AgentId) -> Option<Attempt> {
        self.state
            .last_attempt()
            .filter(|own| {
                self.agent_id == *agent && self.earlier.values().all(|earlier| earlier < own)
            })
            .or_else(|| self.earlier.get(agent).copied())
    }

    /// Returns the task after an event of `sender`. An agent that the task was moved away from
    /// reports on an attempt that is over, never on one of the present agent.
    pub(crate) fn after_agent_event(
        &self,
        sender: &AgentId,
        event: TaskEvent,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        if self.agent_id == *sender {
            return self.after(event, policy, now);
        }
        match self.earlier.get(sender) {
            Some(last) if event.attempt().is_none_or(|named| named <= *last) => {
                Err(Unchanged::Late)
            }
            _ => Err(Unchanged::NotHeld),
        }
    }

    /// Gives the task to another agent, and keeps which attempt the present one was sent.
    pub(super) fn change_agent(&mut self, agent: AgentId) {
        if let Some(attempt) = self.last_attempt_of(&self.agent_id) {
            self.earlier.insert(self.agent_id.clone(), attempt);
        }
        self.agent_id = agent;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::task::{Failure, FailureCode, MAX_MOVE_CHECK_INTERVAL, tests::new_task};

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn id(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    fn at(mins: u64) -> Timestamp {
        Timestamp::from_millis(mins * 60_000)
    }

    fn task(route: Option<&str>) -> Task {
        Task {
            route: route.map(|route| route.parse().unwrap()),
            ..new_task("a")
        }
    }

    fn after(task: &Task, event: TaskEvent, mins: u64) -> Result<Task, Unchanged> {
        task.after(event, &TaskPolicy::default(), at(mins))
    }

    #[test]
    fn a_task_is_moved_while_it_waits_and_was_not_sent() {
        let to_b = TaskEvent::Moved(id("b"));
        let waiting = task(Some("a,b"));
        let moved = after(&waiting, to_b.clone(), 1).unwrap();
        assert_eq!((&moved.agent_id, moved.version), (&id("b"), 2));
        assert_eq!(moved.state, waiting.state);
        assert_eq!(
            moved.queued_at, waiting.queued_at,
            "its place is what it was"
        );
        assert_eq!(
            moved.expires_at, waiting.expires_at,
            "it waits no longer for it"
        );
        assert_eq!(after(&moved, to_b.clone(), 2), Err(Unchanged::Duplicate));
        let sent = after(&waiting, TaskEvent::Claimed, 1).unwrap();
        assert_eq!(
            after(&sent, to_b.clone(), 1),
            Err(Unchanged::AlreadyClaimed)
        );
        let maybe = after(&sent, TaskEvent::Undelivered(Attempt::FIRST), 1).unwrap();
        assert_eq!(
            after(&maybe, to_b.clone(), 1),
            Err(Unchanged::AlreadyClaimed)
        );
        assert!(!maybe.may_move() && waiting.may_move());
        let over = after(&sent, TaskEvent::Completed(None), 1).unwrap();
        assert_eq!(after(&over, to_b, 1), Err(Unchanged::Ended));
    }

    #[test]
    fn one_that_could_be_moved_is_looked_at_every_few_minutes() {
        let shown = |route| Task {
            shown: 1,
            ..task(route)
        };
        let (free, pinned) = (shown(Some("any")), shown(None));
        assert_eq!(pinned.due_at(), Some(pinned.expires_at));
        assert_eq!(shown(Some("a")).due_at(), Some(pinned.expires_at));
        assert_eq!(free.due_at(), Some(at(1)));
        let looks = [(1, 2), (2, 4), (4, 8), (8, 13), (13, 18)];
        for (now, next) in looks {
            assert_eq!(free.postponed_check_at(at(now)), at(next));
        }
        assert_eq!(MAX_MOVE_CHECK_INTERVAL, Duration::from_mins(5));
        let sent = after(&free, TaskEvent::Claimed, 1).unwrap();
        assert_eq!(sent.first_move_check_at(), None);
    }

    #[derive(Debug, Clone)]
    enum Happens {
        Claim,
        Refuse,
        Unanswered,
        Undelivered,
        Fail,
        Retry,
        Move(&'static str),
        Report(&'static str, Option<u32>),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let name = || prop::sample::select(&NAMES[..]);
        prop_oneof![
            4 => Just(Happens::Claim),
            2 => Just(Happens::Refuse),
            2 => Just(Happens::Unanswered),
            1 => Just(Happens::Undelivered),
            1 => Just(Happens::Fail),
            2 => Just(Happens::Retry),
            4 => name().prop_map(Happens::Move),
            4 => (name(), prop::option::of(1..6_u32)).prop_map(|(who, what)| Happens::Report(who, what)),
        ]
    }

    fn event(task: &Task, what: &Happens) -> TaskEvent {
        let attempt = task.state.held_attempt();
        match what {
            Happens::Claim => TaskEvent::Claimed,
            Happens::Refuse => TaskEvent::Refused {
                attempt,
                reason: "no".into(),
                retryable: true,
                spent: false,
            },
            Happens::Unanswered => TaskEvent::Tick { heard_at: None },
            Happens::Undelivered => TaskEvent::Undelivered(attempt.unwrap_or(Attempt::FIRST)),
            Happens::Fail => {
                let failure = Failure::new(FailureCode::AgentError, "no", false);
                TaskEvent::Failed(attempt, failure)
            }
            Happens::Retry => TaskEvent::Retried,
            Happens::Move(to) => TaskEvent::Moved(id(to)),
            Happens::Report(_, named) => {
                TaskEvent::Completed(named.map(|number| number.try_into().unwrap()))
            }
        }
    }

    proptest! {
        #[test]
        fn each_attempt_is_one_agents_and_nobody_speaks_of_anothers(
            all in prop::collection::vec(happens(), 0..40)
        ) {
            let policy = TaskPolicy::default();
            let mut task = task(Some("any"));
            let mut sent: BTreeMap<Attempt, AgentId> = BTreeMap::new();
            for (n, what) in all.into_iter().enumerate() {
                let now = at(10 * (n as u64 + 1));
                let event = event(&task, &what);
                let (sender, next) = match &what {
                    Happens::Report(who, _) => {
                        (id(who), task.after_agent_event(&id(who), event.clone(), &policy, now))
                    }
                    _ => (task.agent_id.clone(), task.after(event.clone(), &policy, now)),
                };
                if sender != task.agent_id {
                    let own = |attempt: &Attempt| sent.get(attempt) == Some(&sender);
                    let last = sent.keys().rfind(|attempt| own(attempt));
                    let its_own = last.is_some_and(|last| event.attempt().is_none_or(|it| it <= *last));
                    let expected = if its_own { Unchanged::Late } else { Unchanged::NotHeld };
                    prop_assert_eq!(next, Err(expected));
                    continue;
                }
                let Ok(next) = next else { continue };
                if event == TaskEvent::Claimed {
                    let attempt = next.state.held_attempt().unwrap();
                    let owner = sent.entry(attempt).or_insert_with(|| next.agent_id.clone());
                    prop_assert_eq!(&*owner, &next.agent_id, "attempt {} of two agents", attempt);
                }
                task = next;
                for name in NAMES {
                    let its = sent.iter().filter(|(_, owner)| **owner == id(name));
                    let last = its.map(|(attempt, _)| *attempt).max();
                    prop_assert_eq!(task.last_attempt_of(&id(name)), last, "{}: {:?}", name, task);
                    prop_assert_eq!(last.is_some() || task.agent_id == id(name),
                        task.is_known_to(&id(name)));
                }
            }
            let json = serde_json::to_value(&task).unwrap();
            prop_assert_eq!(serde_json::from_value::<Task>(json).unwrap(), task);
        }
    }
}
