//! What is written without reading is what the rules say of a task that was read.

use std::time::Duration;

use bematic::breaker::{
    BreakerConfig, BreakerEvent, FailureKind, IgnoredBecause, Said, report_finish,
};
use bematic::ports::{Agents, Blind, Breakers, Claim, Pass, Tasks, Turn, Written};
use bematic::task::{
    Begin, Ending, Failure, FailureCode, Finish, Origin, Task, TaskEvent, TaskPolicy, TaskSpec,
};
use bematic_protocol::ids::{AgentId, Attempt, Ids as _, RandomIds};
use bematic_protocol::messages::Fault;
use serde_json::json;

use super::stored::{Stored, agent, at};

impl Stored {
    /// A task that was sent to the agent.
    async fn sent(&self, lease_secs: Option<u64>) -> Task {
        let id = RandomIds.task();
        let spec: TaskSpec = serde_json::from_value(json!({
            "projectId": "web", "prompt": "fix it", "botName": "Bematic", "command": "run",
            "localPath": "/srv", "model": "default", "maxBudget": 5.0, "allowedTools": [],
            "leaseSecs": lease_secs, "systemPrompt": "",
        }))
        .unwrap();
        let origin: Origin =
            serde_json::from_value(json!({ "channelId": "C1", "userId": "U1" })).unwrap();
        let task = Task::new(id, agent(), &spec, origin, &self.policy, at(1));
        let request = id.to_string();
        let _ = self.tasks.create(&task, &spec, &request).await.unwrap();
        let claimed = task.after(TaskEvent::Claimed, &self.policy, at(2)).unwrap();
        let agent = self.agents.find(&agent()).await.unwrap().unwrap();
        let pass = Pass {
            connection: &"c".parse().unwrap(),
            generation: agent.gate.generation,
            turn: None,
        };
        match self.tasks.claim(&task, claimed, pass).await.unwrap() {
            Claim::Taken(task) => *task,
            other => panic!("{other:?}"),
        }
    }

    /// One that has begun.
    async fn running(&self) -> Task {
        let task = self.sent(None).await;
        let _ = self
            .tasks
            .begin(&begin(&task, &agent(), None))
            .await
            .unwrap();
        self.find(&task).await
    }

    async fn find(&self, task: &Task) -> Task {
        self.tasks.find(task.id).await.unwrap().unwrap()
    }

    /// What an event makes of the task, written as everything else is.
    async fn apply(&self, task: &Task, event: TaskEvent) -> Task {
        let next = task.after(event, &self.policy, at(3)).unwrap();
        let written = self.tasks.transition(task, &next, None, None).await;
        assert_eq!(written.unwrap(), Written::Done);
        next
    }
}

fn begin<'a>(task: &Task, agent: &'a AgentId, attempt: Option<u32>) -> Begin<'a> {
    Begin {
        task_id: task.id,
        agent,
        attempt: attempt.map(|number| number.try_into().unwrap()),
        said_at: at(900),
        lease: TaskPolicy::default().lease,
        now: at(1000),
    }
}

fn completed() -> Ending {
    let completion = json!({
        "result": "done", "inputTokens": 1, "outputTokens": 2, "estimatedCost": 0.5,
        "filesChanged": [], "commandsRun": [], "durationMs": 4000,
    });
    Ending::Completed(Box::new(serde_json::from_value(completion).unwrap()))
}

fn endings() -> [Ending; 4] {
    let failure = Failure::new(FailureCode::AgentError, "it broke", true);
    [
        completed(),
        Ending::Failed(failure),
        Ending::Cancelled(None),
        Ending::Cancelled(Some("told to".into())),
    ]
}

fn finish<'a>(task: &Task, agent: &'a AgentId, ending: &'a Ending) -> Finish<'a> {
    Finish {
        task_id: task.id,
        agent,
        attempt: Attempt::FIRST,
        ending,
        slow_after: None,
        now: at(5000),
    }
}

/// What is stored, or refused, is what the rules say.
async fn begins_alike(stored: &Stored, task: &Task, begin: &Begin<'_>) {
    let expected = task.begun(begin);
    let answer = stored.tasks.begin(begin).await.unwrap();
    match &expected {
        Some(next) => assert_eq!(answer, Blind::Done(Box::new(next.clone()))),
        None => assert_eq!(answer, Blind::Unusual(Some(Box::new(task.clone())))),
    }
    assert_eq!(stored.find(task).await, expected.unwrap_or(task.clone()));
}

async fn finishes_alike(stored: &Stored, task: &Task, finish: &Finish<'_>) {
    let expected = task.finished(finish);
    let answer = stored.tasks.finish(finish, None).await.unwrap();
    match &expected {
        Some(_) => assert_eq!(answer, Blind::Done(())),
        None => assert_eq!(answer, Blind::Unusual(Some(Box::new(task.clone())))),
    }
    assert_eq!(
        stored.find(task).await,
        expected.clone().unwrap_or(task.clone())
    );
    let kept = stored.tasks.completion(task.id).await.unwrap();
    let completion = finish.ending.completion();
    assert_eq!(kept.as_ref(), completion.filter(|_| expected.is_some()));
    let agent = stored.agents.find(&task.agent_id).await.unwrap();
    let holds = agent.is_some_and(|agent| agent.held_tasks().any(|held| held == task.id));
    assert_eq!(holds, task.slot().is_some() && expected.is_none());
}

#[tokio::test]
async fn an_attempt_that_begins_is_written_as_the_rules_say_in_one_call() {
    let stored = Stored::new().await;
    let (own, other) = (agent(), "b".parse().unwrap());
    for attempt in [None, Some(1)] {
        let task = stored.sent(None).await;
        stored.aws.take_calls().unwrap();
        let answer = stored.tasks.begin(&begin(&task, &own, attempt)).await;
        assert!(matches!(answer.unwrap(), Blind::Done(_)));
        assert_eq!(stored.aws.take_calls().unwrap().len(), 1);
    }
    for (agent, attempt) in [
        (&own, None),
        (&own, Some(1)),
        (&own, Some(2)),
        (&other, None),
    ] {
        let task = stored.sent(None).await;
        begins_alike(&stored, &task, &begin(&task, agent, attempt)).await;
        // Twice.
        let task = stored.find(&task).await;
        begins_alike(&stored, &task, &begin(&task, agent, attempt)).await;
    }
    let usual = TaskPolicy::default().lease;
    for (own_lease, lease) in [
        (Some(600), usual),
        (Some(60), Duration::from_secs(10)),
        (Some(59), usual),
        (None, Duration::from_secs(59)),
        (None, Duration::from_mins(1)),
    ] {
        let task = stored.sent(own_lease).await;
        let begin = Begin {
            lease,
            ..begin(&task, &own, None)
        };
        begins_alike(&stored, &task, &begin).await;
    }
    let task = stored.sent(None).await;
    let cancelling = TaskEvent::CancelRequested("U1".parse().unwrap());
    let task = stored.apply(&task, cancelling).await;
    begins_alike(&stored, &task, &begin(&task, &own, None)).await;
}

#[tokio::test]
async fn an_attempt_that_is_done_is_written_as_the_rules_say_in_one_call() {
    let stored = Stored::new().await;
    let (own, other) = (agent(), "b".parse().unwrap());
    for ending in endings() {
        let task = stored.sent(None).await;
        // Not begun, as far as is known.
        finishes_alike(&stored, &task, &finish(&task, &own, &ending)).await;
        let task = stored.running().await;
        finishes_alike(&stored, &task, &finish(&task, &other, &ending)).await;
        let later = Finish {
            attempt: 2.try_into().unwrap(),
            ..finish(&task, &own, &ending)
        };
        finishes_alike(&stored, &task, &later).await;
        for slow_after in [3999, 4000, 4001] {
            let task = stored.running().await;
            let timed = Finish {
                slow_after: Some(Duration::from_millis(slow_after)),
                ..finish(&task, &own, &ending)
            };
            finishes_alike(&stored, &task, &timed).await;
        }
        let task = stored.running().await;
        let cancelling = TaskEvent::CancelRequested("U1".parse().unwrap());
        let task = stored.apply(&task, cancelling).await;
        stored.aws.take_calls().unwrap();
        let stop = finish(&task, &own, &ending);
        let answer = stored.tasks.finish(&stop, None);
        let stopped = matches!(ending, Ending::Cancelled(_));
        assert_eq!(answer.await.unwrap() == Blind::Done(()), stopped);
        assert_eq!(stored.aws.take_calls().unwrap().len(), 1);
        let next = task.finished(&stop);
        let task = next.unwrap_or(task);
        assert_eq!(stored.find(&task).await, task);
        // Twice.
        finishes_alike(&stored, &task, &finish(&task, &own, &ending)).await;
    }
}

#[tokio::test]
async fn what_says_nothing_about_the_agent_is_kept_beside_its_breaker() {
    let stored = Stored::new().await;
    let (own, [_, failed, stopped, _]) = (agent(), endings());
    let Ending::Failed(failure) = failed else {
        panic!("{failed:?}");
    };
    let faulty = Ending::Failed(failure.with_fault(Fault::Task));
    for ending in [&faulty, &stopped] {
        let mut task = stored.running().await;
        if *ending == stopped {
            let stop = TaskEvent::CancelRequested("U1".parse().unwrap());
            task = stored.apply(&task, stop).await;
        }
        let answer = stored
            .tasks
            .finish(&finish(&task, &own, ending), None)
            .await;
        assert_eq!(answer.unwrap(), Blind::Done(()));
    }
    let breaker = stored.agents.breaker(&own).await.unwrap();
    assert_eq!((breaker.version, breaker.window.all().count()), (0, 0));
    let mut because: Vec<_> = breaker.ignored.iter().map(|it| it.because).collect();
    because.sort_by_key(ToString::to_string);
    let expected = [IgnoredBecause::TaskFault, IgnoredBecause::Cancelled];
    assert_eq!(because, expected);
}

#[tokio::test]
async fn a_success_is_counted_once_in_one_call() {
    let stored = Stored::new().await;
    let (own, ending) = (agent(), completed());
    let task = stored.running().await;
    stored.aws.take_calls().unwrap();
    let finish = finish(&task, &own, &ending);
    let answer = stored.tasks.finish(&finish, None).await;
    assert_eq!(answer.unwrap(), Blind::Done(()));
    assert_eq!(stored.aws.take_calls().unwrap().len(), 1);
    let again = stored.tasks.finish(&finish, None).await;
    assert!(matches!(again.unwrap(), Blind::Unusual(Some(_))));
    let counted = stored.agents.breaker(&own).await.unwrap();
    let of_task = |id: &str| id.starts_with(&task.id.to_string());
    let counted = counted.window.all().filter(|it| of_task(&it.id));
    assert_eq!(counted.count(), 1);
}

/// What the breaker has to be told.
fn told(finish: &Finish<'_>) -> BreakerEvent {
    match report_finish(finish) {
        Said::Event(event) => event,
        Said::Beside(_) => panic!("{finish:?}"),
    }
}

#[tokio::test]
async fn a_failure_is_written_with_its_breaker_or_not_at_all() {
    let stored = Stored::new().await;
    let (own, [_, failed, ..]) = (agent(), endings());
    let (first, second) = (stored.running().await, stored.running().await);
    let before = stored.agents.breaker(&own).await.unwrap();
    let tell = async |task: &Task| {
        let finish = finish(task, &own, &failed);
        let report = told(&finish);
        let step = before.after(report, &BreakerConfig::default(), at(5000));
        let turn = Turn {
            before: &before,
            after: &step.next,
        };
        stored.tasks.finish(&finish, Some(turn)).await.unwrap()
    };
    assert_eq!(tell(&first).await, Blind::Done(()));
    // Decided on the breaker as it was before.
    assert_eq!(tell(&second).await, Blind::Unusual(None));
    assert_eq!(stored.find(&second).await, second);
    let counted = stored.agents.breaker(&own).await.unwrap();
    assert_eq!(counted.window.all().count(), 1);
}

#[tokio::test]
async fn a_failure_that_opens_the_breaker_shuts_its_agents_gate_with_it() {
    let stored = Stored::new().await;
    let (own, [_, failed, ..]) = (agent(), endings());
    let config = BreakerConfig::default();
    let task = stored.running().await;
    let finish = finish(&task, &own, &failed);
    let before = stored.agents.breaker(&own).await.unwrap();
    let mut after = before.clone();
    for n in 0..9 {
        let report = BreakerEvent::Failure(format!("{n}"), FailureKind::Error, "no".into());
        after = after.after(report, &config, at(4000)).next;
    }
    after = after.after(told(&finish), &config, at(5000)).next;
    let turn = Turn {
        before: &before,
        after: &after,
    };
    assert!(turn.moves_gate());
    let written = stored.tasks.finish(&finish, Some(turn)).await.unwrap();
    assert_eq!(written, Blind::Done(()));
    let agent = stored.agents.find(&own).await.unwrap().unwrap();
    assert_eq!(agent.gate, after.gate());
    assert_eq!(agent.held_tasks().count(), 0);
}

#[tokio::test]
async fn a_breaker_that_has_to_be_told_is_not_passed_over() {
    let (own, ending) = (agent(), completed());
    let slow = BreakerConfig {
        slow_call_duration_ms: 1,
        ..BreakerConfig::default()
    };
    let events = [
        (BreakerEvent::Configure(Some(slow)), false),
        (
            BreakerEvent::Configure(Some(BreakerConfig::default())),
            true,
        ),
        (BreakerEvent::Reset, true),
    ];
    for (event, blindly) in events {
        let stored = Stored::new().await;
        let task = stored.running().await;
        let before = stored.agents.breaker(&own).await.unwrap();
        let step = before.after(event.clone(), &BreakerConfig::default(), at(10));
        let turn = Turn {
            before: &before,
            after: &step.next,
        };
        assert_eq!(stored.agents.turn(&own, turn).await.unwrap(), Written::Done);
        assert_eq!(step.next.gate().counts_blindly(), blindly);
        let answer = stored
            .tasks
            .finish(&finish(&task, &own, &ending), None)
            .await;
        assert_eq!(answer.unwrap() == Blind::Done(()), blindly, "{event:?}");
    }
}

#[tokio::test]
async fn a_running_attempt_is_known_by_its_agent_and_number() {
    let stored = Stored::new().await;
    let task = stored.sent(None).await;
    let runs = async |attempt: u32, agent: &str| {
        let (attempt, agent) = (attempt.try_into().unwrap(), agent.parse().unwrap());
        stored.tasks.runs(task.id, attempt, &agent).await.unwrap()
    };
    assert!(!runs(1, "a").await, "it was not begun");
    let _ = stored.tasks.begin(&begin(&task, &agent(), None)).await;
    assert!(runs(1, "a").await);
    assert!(!runs(2, "a").await && !runs(1, "b").await);
}
