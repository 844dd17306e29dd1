//! `slack-webhook`: slash commands, mentions, buttons, and the health check. It verifies the
//! signature on the raw body, parses once, and answers within Slack's 3 s in any case.

mod health;
mod health_check;
mod http;
mod operator;
mod run;

use std::{sync::Arc, time::Duration};

use bematic_protocol::time::Timestamp;
use futures::TryFutureExt as _;
use secrecy::SecretString;
use serde_json::json;
use tokio::time::timeout;
use tracing::{error, info, warn};

use self::health_check::HealthCheck;
pub use self::{
    http::{Request, Response},
    operator::CommandExecutor,
};
use crate::{
    command::{self, BreakerOrder, Command},
    error::{BematicError, Result, chain},
    ports::{MentionReply, Ports},
    slack::{
        CommandReply,
        card::{CardAction, RESET_ACTION_ID},
        inbound::{self, ButtonPress, Endpoint, Inbound, Mention, SlashCommand},
        signature, text,
    },
    task::{Origin, TaskEvent},
};

/// The time within which Slack is answered: Slack gives up after 3 s, and the rest is for the way
/// there and back.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);

/// Handles Slack's requests.
pub struct Webhook {
    ports: Arc<Ports>,
    secret: SecretString,
    health_check: HealthCheck,
    executor: CommandExecutor,
}

impl Webhook {
    /// Creates a webhook of the app with this signing secret.
    pub fn new(ports: Arc<Ports>, secret: SecretString) -> Self {
        Self {
            secret,
            health_check: HealthCheck::new(ports.clone()),
            executor: CommandExecutor::new(ports.clone()),
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
        let Request {
            timestamp,
            signature,
            body,
            ..
        } = request;
        if let Err(error) = signature::verify(&self.secret, timestamp, signature, body, now) {
            warn!(code = error.code(), %error, "request refused");
            return Response::error(401, error.code());
        }
        match inbound::parse(endpoint, body) {
            Ok(inbound) => self.handle_inbound(inbound, now).await,
            Err(error) => {
                warn!(code = error.code(), %error, "request cannot be parsed");
                Response::error(400, error.code())
            }
        }
    }

    /// Handles a parsed request, by its kind.
    async fn handle_inbound(&self, inbound: Inbound, now: Timestamp) -> Response {
        match inbound {
            Inbound::Command(command) => self.handle_slash_command(command, now).await,
            // The response to a mention is not shown; anything but 200 makes Slack repeat the event,
            // which creates nothing twice.
            Inbound::Mention(mention) => {
                respond_whether_done(self.handle_mention(mention, now).map_ok(|()| true)).await
            }
            Inbound::UrlVerification { challenge } => {
                Response::ok(Some(json!({ "challenge": challenge })))
            }
            // The result is seen in the message of the button. Slack shows anything but 200 as a
            // failure.
            Inbound::Action(action) => {
                respond_whether_done(self.handle_button_press(action, now)).await
            }
            Inbound::Ignored { kind } => {
                info!(kind, "event ignored");
                Response::ok(None)
            }
        }
    }

    /// Answers a slash command in the response; Slack does not repeat it.
    async fn handle_slash_command(&self, slash: SlashCommand, now: Timestamp) -> Response {
        let request = format!("command-{}", slash.trigger_id);
        let origin = Origin {
            channel_id: slash.channel_id,
            thread_ts: None,
            user_id: slash.user_id,
        };
        let command = command::parse(&slash.text);
        let stores = command.as_ref().is_ok_and(Command::changes_stored_data);
        let work = async {
            match command {
                Ok(command) => self.executor.execute(command, origin, &request, now).await,
                Err(error) => {
                    info!(code = error.code(), "command cannot be parsed");
                    Ok(CommandReply::ephemeral(text::command_error(&error)))
                }
            }
        };
        let failure = match timeout(ANSWER_WITHIN, work).await {
            Ok(Ok(reply)) => return Response::ok(serde_json::to_value(reply).ok()),
            Ok(Err(error)) => {
                let code = logged_error_code(&error);
                // After an error of a queue, the command's data is stored, and the sweeper finds it.
                let is_stored = stores && matches!(error, BematicError::Queue(_));
                (code, is_stored)
            }
            Err(_) => (logged_timeout_code(), stores),
        };
        let text = match failure {
            // A repetition would execute the command again.
            (_, true) => text::command_not_confirmed(),
            (code, false) => text::internal_error(code),
        };
        Response::ok(serde_json::to_value(CommandReply::ephemeral(text)).ok())
    }

    /// Executes a mention's command. The answer is a reply in the thread, unless it is a task's card.
    async fn handle_mention(&self, mention: Mention, now: Timestamp) -> Result<()> {
        let thread_ts = mention.thread_ts.unwrap_or(mention.ts);
        let origin = Origin {
            channel_id: mention.channel_id.clone(),
            thread_ts: Some(thread_ts.clone()),
            user_id: mention.user_id,
        };
        let request = format!("event-{}", mention.event_id);
        let answer = match command::parse_mention(&mention.text) {
            Ok(Command::Run {
                agent,
                priority,
                prompt,
            }) => {
                let run = self
                    .executor
                    .create_task(agent, priority, prompt, origin, &request, now);
                match run.await? {
                    Ok(_) => return Ok(()),
                    Err(refusal) => refusal,
                }
            }
            Ok(command) => {
                let reply = self
                    .executor
                    .execute(command, origin, &request, now)
                    .await?;
                reply.message.text
            }
            Err(error) => text::command_error(&error),
        };
        let reply = MentionReply {
            event_id: mention.event_id,
            channel_id: mention.channel_id,
            thread_ts,
            text: answer,
        };
        Ok(self.ports.notifications.enqueue_reply(reply).await?)
    }

    /// Executes the action of a button of a task's card or of a notice in the operations channel.
    /// Returns false only if it could not be done now.
    async fn handle_button_press(&self, action: ButtonPress, now: Timestamp) -> Result<bool> {
        let (name, value) = (action.action_id.as_str(), action.value.as_deref());
        if name == RESET_ACTION_ID {
            if let Some(Ok(agent)) = value.map(str::parse) {
                let by = &action.user_id;
                let reset =
                    self.executor
                        .execute_breaker_order(&agent, &BreakerOrder::Reset, by, now);
                return Ok(reset.await?.is_some());
            }
        } else if let (Ok(pressed), Some(Ok(task)), Some(channel)) = (
            name.parse::<CardAction>(),
            value.map(str::parse),
            action.channel_id,
        ) {
            let event = match pressed {
                CardAction::Cancel => TaskEvent::CancelRequested(action.user_id),
                CardAction::Retry => TaskEvent::Retried,
            };
            self.executor
                .cancel_or_retry_task(task, &channel, event, now)
                .await?;
            return Ok(true);
        }
        warn!(action = name, "unknown button");
        Ok(true)
    }
}

/// Returns the response to a request whose answer is only a status: 200 if `work` was done in time.
async fn respond_whether_done(work: impl Future<Output = Result<bool>>) -> Response {
    match timeout(ANSWER_WITHIN, work).await {
        Ok(Ok(true)) => Response::ok(None),
        Ok(Ok(false)) => Response::error(503, "NOT_DONE"),
        Ok(Err(error)) => Response::error(503, logged_error_code(&error)),
        Err(_) => Response::error(503, logged_timeout_code()),
    }
}

/// Logs an error, and returns its code.
fn logged_error_code(error: &BematicError) -> &'static str {
    error!(code = error.code(), error = %chain(error), "request failed");
    error.code()
}

/// Logs that a request was not handled in time, and returns the code.
fn logged_timeout_code() -> &'static str {
    const CODE: &str = "SLACK_DEADLINE";
    error!(code = CODE, "request not handled in time");
    CODE
}
