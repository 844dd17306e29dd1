//! The one place where people's commands are authorized, executed and recorded in the audit log.

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{ChannelId, TaskId},
    time::Timestamp,
};
use futures::future::try_join_all;
use strum::IntoEnumIterator as _;
use tokio::time::timeout;
use tracing::{Instrument as _, error, info, info_span};

use super::super::transitions::{TransitionOutcome, Transitions};
use crate::{
    access::{
        Actor, Outsider, Role, RoleAssignment, Unauthorized, authorize, authorize_assignment,
    },
    agent::Project,
    audit::{AuditActor, AuditFilter, AuditOutcome, AuditRecord},
    batch::{Batch, BatchKind},
    command::Command,
    dead_letter::QueueName,
    error::{BematicError, Result, chain},
    ports::{Created, MembershipSource, Ports},
    slack::{CommandReply, card::TaskView, text},
    task::{Origin, TaskEvent},
};

/// The number of tasks in a list, and of records of the audit log.
const MAX_LISTED_TASKS: usize = 10;
const MAX_LISTED_AUDIT_RECORDS: usize = 20;
/// The number of messages of a queue that are redriven at once: as many as fit into Slack's 3 s.
const MAX_REDRIVEN_PER_QUEUE: usize = 30;

/// The time that a command may take: the rest of the 2.5 s until Slack is answered is for the audit
/// record.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(2200);

/// What came of a command.
#[derive(Debug)]
pub enum CommandOutcome {
    /// The command was executed; this is the answer.
    Done(CommandReply),
    /// A task was created, or had been by the same request. Its card is the answer where no other is
    /// shown.
    TaskCreated(TaskId, CommandReply),
    /// The command was refused, for a reason that the person can do something about.
    Refused {
        /// The stable code.
        code: &'static str,
        /// The text for the person.
        text: String,
    },
}

impl CommandOutcome {
    fn done(text: String) -> Self {
        Self::Done(CommandReply::ephemeral(text))
    }

    pub(super) const fn refused(code: &'static str, text: String) -> Self {
        Self::Refused { code, text }
    }
}

/// What is known of an actor who may give the command.
struct Authorized {
    origin: Origin,
    role: Role,
    project: Option<Project>,
}

/// Authorizes and executes the commands of people: slash commands, mentions and buttons alike.
pub struct CommandExecutor {
    pub(super) ports: Arc<Ports>,
    pub(super) transitions: Transitions,
    /// The workspace whose full members give commands.
    pub(super) workspace: Arc<dyn MembershipSource>,
}

impl CommandExecutor {
    /// Creates an executor with these ports, and the workspace whose members give commands.
    pub fn new(ports: Arc<Ports>, workspace: Arc<dyn MembershipSource>) -> Self {
        Self {
            workspace,
            transitions: Transitions::new(ports.clone()),
            ports,
        }
    }

    /// Executes a command if the actor may give it: a read before the command's own calls, with a call
    /// to Slack and a write once a day for each person, and the audit record after them. `request` is
    /// Slack's id of the request. Only internal errors are errors: a person's error is in the outcome.
    ///
    /// # Errors
    /// [`BematicError::Audit`] if the audit record could not be stored, whether the command was
    /// executed or refused; [`BematicError::CommandTooSlow`] if it may have been executed in part.
    pub async fn execute(
        &self,
        actor: Actor,
        command: Command,
        request: &str,
        now: Timestamp,
    ) -> Result<CommandOutcome> {
        let Origin {
            user_id,
            channel_id,
            ..
        } = &actor.origin;
        let span = info_span!("command", user = %user_id, channel = %channel_id);
        let mut record = AuditRecord {
            at: now,
            request: request.to_owned(),
            actor: AuditActor::Person {
                user_id: user_id.clone(),
                channel_id: channel_id.clone(),
            },
            action: command.audit_action(),
            task: command.task().map(|id| id.to_string()),
            outcome: AuditOutcome::Done,
            code: None,
            security: command.changes_access(),
        };
        let executing = async {
            let is_audited = command.is_audited();
            // Boxed: the future of all commands is large.
            let executed = Box::pin(self.authorize_and_execute(actor, command, request, now));
            let executed = timeout(COMMAND_TIMEOUT, executed).await;
            let outcome = executed.unwrap_or(Err(BematicError::CommandTooSlow));
            match &outcome {
                Ok(CommandOutcome::Done(_)) => {}
                Ok(CommandOutcome::TaskCreated(task, _)) => record.task = Some(task.to_string()),
                Ok(CommandOutcome::Refused { code, .. }) => {
                    info!(code, action = record.action, "command refused");
                    (record.outcome, record.code) = (AuditOutcome::Refused, Some((*code).into()));
                    record.security |=
                        *code == Unauthorized::CODE || Outsider::is_refusal_code(code);
                }
                Err(error) => {
                    (record.outcome, record.code) =
                        (AuditOutcome::Failed, Some(error.code().into()));
                }
            }
            if is_audited || record.outcome == AuditOutcome::Refused {
                let stored = self.append_audit_record(&record).await;
                // Of two errors the command's own is reported.
                outcome.and_then(|outcome| stored.map(|()| outcome))
            } else {
                outcome
            }
        };
        executing.instrument(span).await
    }

    /// Stores an audit record. An error is logged here and nowhere else, with the record, whose person
    /// and channel are those of the span.
    async fn append_audit_record(&self, record: &AuditRecord) -> Result<()> {
        let retention = self.ports.settings.audit_retention.of(record);
        let appended = self.ports.audit_log.append(record, retention).await;
        appended.map_err(|error| {
            let outcome: &str = record.outcome.into();
            let AuditRecord { request, action, task, code: recorded_code, .. } = record;
            let error = BematicError::Audit(error);
            let code = error.code();
            error!(code, request, action, task, outcome, recorded_code, error = %chain(&error), "audit record not stored");
            error
        })
    }

    async fn authorize_and_execute(
        &self,
        actor: Actor,
        command: Command,
        request: &str,
        now: Timestamp,
    ) -> Result<CommandOutcome> {
        let settings = &self.ports.settings;
        let Origin {
            user_id,
            channel_id,
            ..
        } = &actor.origin;
        let roles = &self.ports.roles;
        let found = roles.find_with_project(user_id, channel_id).await?;
        if let Some(refused) = self.refuse_outsider(&actor, &found, now).await {
            return Ok(refused);
        }
        let role = settings.access.role_of(user_id, found.role);
        let operations = settings.operations_channel.as_ref();
        let authorization = authorize(&actor.origin, role, command.requirement(), operations);
        if let Err(unauthorized) = authorization {
            let text = text::unauthorized(&unauthorized, user_id);
            return Ok(CommandOutcome::refused(Unauthorized::CODE, text));
        }
        let authorized = Authorized {
            origin: actor.origin,
            role,
            project: found.project,
        };
        self.execute_authorized(authorized, command, request, now)
            .await
    }

    /// Executes a command whose actor may give it.
    async fn execute_authorized(
        &self,
        authorized: Authorized,
        command: Command,
        request: &str,
        now: Timestamp,
    ) -> Result<CommandOutcome> {
        let Authorized {
            origin,
            role,
            project,
        } = authorized;
        let settings = &self.ports.settings;
        let (user, channel) = (&origin.user_id, &origin.channel_id);
        let text = match command {
            Command::Run(arguments) => {
                let hourly_limit = settings.limits.hourly_tasks(role);
                return self
                    .create_task(arguments, project, hourly_limit, origin, request, now)
                    .await;
            }
            Command::Status(id) => {
                // A task of another channel is not shown.
                match self.ports.tasks.find(id).await? {
                    Some(task) if task.origin.channel_id == *channel => {
                        let view = TaskView::read(&self.ports, task).await?;
                        return Ok(CommandOutcome::Done(CommandReply {
                            message: view.render(now),
                        }));
                    }
                    _ => return Ok(unknown_task(id)),
                }
            }
            Command::Cancel(task) => {
                let event = TaskEvent::CancelRequested(user.clone());
                return self.cancel_or_retry_task(task, channel, event, now).await;
            }
            Command::Retry(task) => {
                let event = TaskEvent::Retried;
                return self.cancel_or_retry_task(task, channel, event, now).await;
            }
            Command::Bulk(kind) => {
                self.create_bulk_operation(kind, origin, request, now)
                    .await?
            }
            Command::DeadLetters => {
                let lists = QueueName::iter().map(|queue| self.ports.dead_letters.list(queue));
                text::dead_letters(&try_join_all(lists).await?, now)
            }
            Command::Redrive => self.redrive().await?,
            Command::Tasks => {
                let page = self
                    .ports
                    .lists
                    .in_channel(channel, MAX_LISTED_TASKS, None)
                    .await?;
                text::tasks(&page.items, now)
            }
            Command::Agents => {
                let agents = self.ports.agents.list().await?;
                text::agents(&agents, now)
            }
            Command::Health(None) => self.show_health_overview(now).await?,
            Command::Health(Some(id)) => self.show_agent_health(&id, now).await?,
            Command::Breaker(agent, order) => {
                return self.execute_breaker_order(&agent, &order, user, now).await;
            }
            Command::SetRole(user_id, given) => {
                let assignment = RoleAssignment {
                    user_id,
                    role: given,
                    given_by: user.clone(),
                    given_at: now,
                };
                return self.assign_role(&assignment, role, channel).await;
            }
            Command::Users => {
                let assignments = self.ports.roles.list().await?;
                text::users(&settings.access, &assignments, now)
            }
            Command::Audit { user, since, until } => {
                let filter = AuditFilter {
                    user_id: user,
                    since: now - since,
                    until: now - until,
                };
                let log = &self.ports.audit_log;
                // One more than is shown says whether there are more.
                let found = log.newest(&filter, MAX_LISTED_AUDIT_RECORDS + 1).await?;
                text::audit_records(&found, MAX_LISTED_AUDIT_RECORDS, since, now)
            }
            Command::Help => text::help(),
        };
        Ok(CommandOutcome::done(text))
    }

    /// Stores the role that somebody is given by a person with the role `own`: a read and a write.
    async fn assign_role(
        &self,
        assignment: &RoleAssignment,
        own: Role,
        channel: &ChannelId,
    ) -> Result<CommandOutcome> {
        let (user, given, access) = (
            &assignment.user_id,
            assignment.role,
            &self.ports.settings.access,
        );
        let found = self.ports.roles.find_with_project(user, channel).await?;
        let present = access.role_of(user, found.role);
        if let Err(unauthorized) = authorize_assignment(own, present, given) {
            let text = text::unauthorized(&unauthorized, &assignment.given_by);
            return Ok(CommandOutcome::refused(Unauthorized::CODE, text));
        }
        self.ports.roles.put(assignment).await?;
        info!(person = %user, role = %given, "role given");
        let is_first_admin = access.is_first_admin(user);
        let text = text::role_given(user, given, is_first_admin);
        Ok(CommandOutcome::done(text))
    }

    /// Cancels or retries a task of the channel: a read, a write, and a message or two.
    async fn cancel_or_retry_task(
        &self,
        id: TaskId,
        channel: &ChannelId,
        event: TaskEvent,
        now: Timestamp,
    ) -> Result<CommandOutcome> {
        let found = self.ports.tasks.find(id).await?;
        let Some(task) = found.filter(|task| task.origin.channel_id == *channel) else {
            return Ok(unknown_task(id));
        };
        let applied = self.transitions.apply_to_loaded_task(task, &event, now);
        Ok(CommandOutcome::done(match applied.await? {
            TransitionOutcome::Changed(task) => text::cancel_or_retry_accepted(&task),
            TransitionOutcome::Unchanged(task, _) => text::task_unchanged(&task),
        }))
    }

    /// Stores a bulk operation, and enqueues its beginning and the refresh of its card: a
    /// transaction and two messages. A repeated request only sends the messages again.
    async fn create_bulk_operation(
        &self,
        kind: BatchKind,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<String> {
        let mut batch = Batch::new(self.ports.ids.batch(), kind, origin, now);
        match self.ports.batches.create(&batch, request).await? {
            Created::New => info!(batch = %batch.id, ?kind, "bulk operation created"),
            Created::Existing(first) => {
                info!(batch = %first, "request repeated");
                batch = self.ports.batches.find(first).await?.unwrap_or(batch);
            }
        }
        futures::try_join!(
            self.ports.batch_queue.enqueue(batch.id),
            self.ports.notifications.enqueue_batch_refresh(&batch),
        )?;
        Ok(text::bulk_accepted(batch.kind))
    }

    /// Redrives some dead letters of each queue. Returns the text for the operator.
    async fn redrive(&self) -> Result<String> {
        let queues = QueueName::iter().map(|queue| {
            self.ports
                .dead_letters
                .redrive(queue, MAX_REDRIVEN_PER_QUEUE)
        });
        let redriven = try_join_all(queues).await?.into_iter().sum();
        info!(redriven, "dead letters redriven");
        Ok(text::dead_letters_redriven(redriven))
    }
}

fn unknown_task(id: TaskId) -> CommandOutcome {
    CommandOutcome::refused("UNKNOWN_TASK", text::unknown_task(id))
}
