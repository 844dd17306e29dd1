//! What agents say most: written without reading the task, where it is as it mostly is then.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    time::Timestamp,
};
use tokio::time::Instant;
use tracing::info;

use super::{Outcome, Transitions, known_to};
use crate::{
    breaker::{self, Said},
    error::BematicError,
    ports::{Blind, DispatchMessage, Show, Turn},
    task::{Begin, Completion, Ending, Finish, Task, TaskEvent},
};

impl Transitions {
    /// An attempt has begun: a write and a message where the task is as it mostly is then, else as
    /// [`Self::apply`]. A first lease that ends within 15 min is left to the message that looks after
    /// the acknowledgement, which is under way: one of its own would double what is sent here.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(in crate::handlers) async fn begin(
        &self,
        agent: &AgentId,
        task_id: TaskId,
        attempt: Option<Attempt>,
        said_at: Timestamp,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let begin = Begin {
            task_id,
            agent,
            attempt,
            said_at,
            lease: self.ports.settings.policy.lease,
            now,
        };
        let event = TaskEvent::Started { attempt, said_at };
        let started = Instant::now();
        match self.ports.tasks.begin(&begin).await? {
            Blind::Done(task) => {
                info!(task = %task_id, %agent, to = task.state.name(), "task changed");
                if !task.is_told_of(now + started.elapsed()) {
                    self.ports.notifications.show(&Show::of(&task)).await?;
                }
                Ok(Outcome::Changed(*task))
            }
            Blind::Unusual(task) => {
                self.otherwise(agent, task_id, task, &event, None, now)
                    .await
            }
        }
    }

    /// An attempt is done: a transaction and a message where the task and its agent's breaker are as
    /// they mostly are then, which says nothing of the task; else as [`Self::apply`]. For a failure
    /// the breaker is read.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(in crate::handlers) async fn finish(
        &self,
        agent: &AgentId,
        task_id: TaskId,
        attempt: Option<Attempt>,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<Option<Outcome>, BematicError> {
        let mut task = None;
        if let Some(attempt) = attempt {
            let finish = Finish {
                task_id,
                agent,
                attempt,
                ending,
                slow_after: self.ports.settings.breaker.slow_after(),
                now,
            };
            match self.finish_blindly(&finish).await? {
                Blind::Done(()) => return Ok(None),
                Blind::Unusual(found) => task = found,
            }
        }
        let (event, completion) = (ending.event(attempt), ending.completion());
        let outcome = self
            .otherwise(agent, task_id, task, &event, completion, now)
            .await?;
        Ok(Some(outcome))
    }

    async fn finish_blindly(&self, finish: &Finish<'_>) -> Result<Blind<()>, BematicError> {
        let (agent, now) = (finish.agent, finish.now);
        let turned = match breaker::report_finish(finish) {
            Said::Event(event) => self.turned(agent, event, now).await?,
            Said::Beside(_) => None,
        };
        let turn = turned
            .as_ref()
            .map(|(before, after)| Turn { before, after });
        let written = self.ports.tasks.finish(finish, turn).await?;
        if written == Blind::Done(()) {
            let to = <&str>::from(finish.ending);
            info!(task = %finish.task_id, %agent, to, "task changed");
            // A slot is free, and Slack is to show it.
            let drain = DispatchMessage::Drain {
                agent_id: agent.clone(),
                show: Some(Show::finished(finish.slot())),
            };
            let told = self.ports.dispatch.send(&drain, Duration::ZERO);
            futures::try_join!(told, self.moved(agent, turn, now))?;
        }
        Ok(written)
    }

    /// What was not written blindly, with the task as that found it.
    async fn otherwise(
        &self,
        agent: &AgentId,
        id: TaskId,
        task: Option<Box<Task>>,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let task = match task {
            Some(task) => known_to(agent, *task)?,
            None => self.task_of(agent, id).await?,
        };
        self.apply_report(agent, task, event, completion, now).await
    }
}
