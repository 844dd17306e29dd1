//! `slack-webhook`: slash commands, mentions, buttons, and the health check. It verifies the
//! signature on the raw body, parses once, and answers within Slack's 3 s in any case.

mod health;
mod health_check;
mod http;
mod membership;
mod operator;
mod run;
mod verify;

use std::{sync::Arc, time::Duration};

use bematic_protocol::time::Timestamp;
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use self::health_check::HealthCheck;
pub use self::{
    http::{Request, Response},
    operator::{CommandExecutor, CommandOutcome},
};
use crate::{
    access::Actor,
    command::{self, BreakerOrder, Command},
    error::{BematicError, Result, chain},
    ports::{MembershipSource, Ports, TextReply},
    secret::CachedSecret,
    slack::{
        CommandReply,
        card::{CardAction, RESET_ACTION_ID},
        inbound::{self, ButtonPress, Endpoint, Inbound, Installation, Mention, SlashCommand},
        text,
    },
    task::Origin,
};

/// The time within which Slack is answered: Slack gives up after 3 s, and the rest is for the way
/// there and back.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);

/// Handles Slack's requests.
pub struct Webhook {
    ports: Arc<Ports>,
    signing_secret: Arc<CachedSecret>,
    health_check: HealthCheck,
    executor: CommandExecutor,
}

impl Webhook {
    /// Creates a webhook of the app with this signing secret, which is read at the first request, and
    /// with the workspace whose members give commands.
    pub fn new(
        ports: Arc<Ports>,
        signing_secret: Arc<CachedSecret>,
        workspace: Arc<dyn MembershipSource>,
    ) -> Self {
        Self {
            signing_secret,
            health_check: HealthCheck::new(ports.clone()),
            executor: CommandExecutor::new(ports.clone(), workspace),
            ports,
        }
    }

    /// Answers one request. Never fails.
    pub async fn handle(&self, request: Request<'_>) -> Response {
        let endpoint = match request.path {
            "/health" => return self.health_check.answer(self.ports.clock.now()).await,
            "/slack/commands" => Endpoint::Commands,
            "/slack/events" => Endpoint::Events,
            "/slack/interactions" => Endpoint::Interactions,
            _ => return Response::error(404, "NOT_FOUND"),
        };
        let now = self.ports.clock.now();
        let deadline = answer_deadline();
        if let Err(error) = verify::verify(&self.signing_secret, request, now).await {
            return error.logged_response();
        }
        match inbound::parse(endpoint, request.body) {
            Ok(request) => match self.foreign_installation_code(&request.installation) {
                Some(code) => {
                    let Installation { team_id, app_id } = request.installation;
                    warn!(code, team = team_id, app = app_id, "request refused");
                    Response::error(403, code)
                }
                None => self.handle_inbound(request.inbound, now, deadline).await,
            },
            Err(error) => {
                warn!(code = error.code(), %error, "request cannot be parsed");
                Response::error(400, error.code())
            }
        }
    }

    /// Returns the code of the refusal of a request of another workspace or app; `None` if it is
    /// accepted.
    fn foreign_installation_code(&self, of: &Installation) -> Option<&'static str> {
        let access = &self.ports.settings.access;
        if !access.accepts_app(of.app_id.as_deref()) {
            return Some("OTHER_APP");
        }
        (!access.accepts_team(of.team_id.as_deref())).then_some("OTHER_WORKSPACE")
    }

    /// Returns who gives a command, of a workspace that Slack may have named.
    fn actor(&self, origin: Origin, team: Option<&str>) -> Actor {
        let is_external = !self.ports.settings.access.accepts_team(team);
        Actor {
            origin,
            is_external,
        }
    }

    /// Handles a parsed request, by its kind.
    async fn handle_inbound(
        &self,
        inbound: Inbound,
        now: Timestamp,
        deadline: Instant,
    ) -> Response {
        match inbound {
            Inbound::Command(command) => self.handle_slash_command(command, now, deadline).await,
            // The response to a mention is not shown; anything but 200 makes Slack repeat the event,
            // which creates nothing twice.
            Inbound::Mention(mention) => {
                respond_whether_done(self.handle_mention(mention, now), deadline).await
            }
            Inbound::UrlVerification { challenge } => {
                Response::ok(Some(json!({ "challenge": challenge })))
            }
            // The result is seen in the message of the button. Slack shows anything but 200 as a
            // failure.
            Inbound::Action(action) => {
                respond_whether_done(self.handle_button_press(action, now), deadline).await
            }
            Inbound::Ignored { kind } => {
                info!(kind, "event ignored");
                Response::ok(None)
            }
        }
    }

    /// Answers a slash command in the response; Slack does not repeat it.
    async fn handle_slash_command(
        &self,
        slash: SlashCommand,
        now: Timestamp,
        deadline: Instant,
    ) -> Response {
        let request = format!("command-{}", slash.trigger_id);
        let origin = Origin {
            channel_id: slash.channel_id,
            thread_ts: None,
            user_id: slash.user_id,
        };
        // The workspace of the request is that of the person.
        let actor = self.actor(origin, None);
        let command = command::parse(&slash.text);
        let stores = command.as_ref().is_ok_and(Command::changes_stored_data);
        let work = async {
            match command {
                Ok(command) => self.executor.execute(actor, command, &request, now).await,
                Err(error) => {
                    info!(code = error.code(), "command cannot be parsed");
                    let text = text::command_error(&error);
                    Ok(CommandOutcome::refused(error.code(), text))
                }
            }
        };
        let reply = match timeout_at(deadline, work).await {
            Ok(Ok(CommandOutcome::Done(reply) | CommandOutcome::TaskCreated(_, reply))) => reply,
            Ok(Ok(CommandOutcome::Refused { text, .. })) => CommandReply::ephemeral(text),
            Ok(Err(error)) => {
                let code = logged_error_code(&error);
                // The command may have taken effect, and a repetition could execute it again.
                let is_executed = matches!(
                    error,
                    BematicError::Queue(_) | BematicError::Audit(_) | BematicError::CommandTooSlow
                );
                CommandReply::ephemeral(if stores && is_executed {
                    text::command_not_confirmed()
                } else if error.is_transient() {
                    text::internal_error(code)
                } else {
                    text::permanent_error(code, &error.public_message())
                })
            }
            Err(_) => {
                let code = logged_timeout_code();
                CommandReply::ephemeral(if stores {
                    text::command_not_confirmed()
                } else {
                    text::internal_error(code)
                })
            }
        };
        Response::ok(serde_json::to_value(reply).ok())
    }

    /// Executes a mention's command. The answer is a reply in the thread, unless it is a task's card.
    async fn handle_mention(&self, mention: Mention, now: Timestamp) -> Result<()> {
        let thread_ts = mention.thread_ts.unwrap_or(mention.ts);
        let origin = Origin {
            channel_id: mention.channel_id.clone(),
            thread_ts: Some(thread_ts.clone()),
            user_id: mention.user_id,
        };
        let actor = self.actor(origin, mention.user_team_id.as_deref());
        let request = format!("event-{}", mention.event_id);
        let text = match command::parse_mention(&mention.text) {
            Ok(command) => {
                let executing = self.executor.execute(actor, command, &request, now);
                match executing.await? {
                    CommandOutcome::TaskCreated(..) => return Ok(()),
                    CommandOutcome::Done(reply) => reply.message.text,
                    CommandOutcome::Refused { text, .. } => text,
                }
            }
            Err(error) => text::command_error(&error),
        };
        let reply = TextReply {
            event_id: mention.event_id,
            channel_id: mention.channel_id,
            thread_ts: Some(thread_ts),
            only_for: None,
            text,
        };
        Ok(self.ports.notifications.enqueue_reply(reply).await?)
    }

    /// Executes the command of a button of a task's card or of a notice in the operations channel. Its
    /// effect is seen in the message of the button; a refusal is told to whoever pressed it.
    async fn handle_button_press(&self, press: ButtonPress, now: Timestamp) -> Result<()> {
        let Some((command, channel_id)) = button_command(&press).zip(press.channel_id) else {
            warn!(
                action = press.action_id,
                "button without a known command or channel"
            );
            return Ok(());
        };
        let origin = Origin {
            channel_id: channel_id.clone(),
            thread_ts: None,
            user_id: press.user_id.clone(),
        };
        let actor = self.actor(origin, press.user_team_id.as_deref());
        let request = format!("action-{}", press.trigger_id);
        let executing = self.executor.execute(actor, command, &request, now);
        if let CommandOutcome::Refused { text, .. } = executing.await? {
            let reply = TextReply {
                event_id: request,
                channel_id,
                thread_ts: None,
                only_for: Some(press.user_id),
                text,
            };
            self.ports.notifications.enqueue_reply(reply).await?;
        }
        Ok(())
    }
}

/// Returns the command that a button stands for; `None` if no button of Bematic's has this name and
/// value.
fn button_command(press: &ButtonPress) -> Option<Command> {
    let value = press.value.as_deref()?;
    if press.action_id == RESET_ACTION_ID {
        return Some(Command::Breaker(value.parse().ok()?, BreakerOrder::Reset));
    }
    let task = value.parse().ok()?;
    Some(match press.action_id.parse().ok()? {
        CardAction::Cancel => Command::Cancel(task),
        CardAction::Retry => Command::Retry(task),
    })
}

/// Returns the response to a request whose answer is only a status: 200 if `work` was done in time.
async fn respond_whether_done(
    work: impl Future<Output = Result<()>>,
    deadline: Instant,
) -> Response {
    match timeout_at(deadline, work).await {
        Ok(Ok(())) => Response::ok(None),
        Ok(Err(error)) => Response::error(503, logged_error_code(&error)),
        Err(_) => Response::error(503, logged_timeout_code()),
    }
}

/// Returns the time by which a request that has just arrived is answered.
#[expect(
    clippy::disallowed_methods,
    reason = "the timer of a time limit reads the same clock"
)]
fn answer_deadline() -> Instant {
    Instant::now() + ANSWER_WITHIN
}

/// Logs an error, and returns its code. The executor has logged an audit record that was not stored.
fn logged_error_code(error: &BematicError) -> &'static str {
    if !matches!(error, BematicError::Audit(_)) {
        error!(code = error.code(), error = %chain(error), "request failed");
    }
    error.code()
}

/// Logs that a request was not handled in time, and returns the code.
fn logged_timeout_code() -> &'static str {
    const CODE: &str = "SLACK_DEADLINE";
    error!(code = CODE, "request not handled in time");
    CODE
}
