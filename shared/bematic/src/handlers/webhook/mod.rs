//! `slack-webhook`: slash commands, mentions, buttons, and the health check. It verifies the
//! signature on the raw body, parses once, and answers within Slack's 3 s in any case.

mod bulk;
mod button;
mod dead_letters;
mod health;
mod health_check;
mod http;
mod operator;
mod run;

use std::{sync::Arc, time::Duration};

use bematic_protocol::time::Timestamp;
use secrecy::SecretString;
use serde_json::json;
use tracing::{error, info, warn};

use self::health_check::HealthCheck;
pub use self::{
    http::{Request, Response},
    operator::Operator,
};
use crate::{
    command::{self, Command},
    error::{BematicError, chain},
    ports::{NotifyMessage, Ports},
    slack::{
        Reply,
        inbound::{self, Endpoint, Inbound, Mention, SlashCommand},
        signature, text,
    },
    task::Origin,
};

/// The time within which Slack is answered: Slack gives up after 3 s, and the rest is for the way
/// there and back.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(2500);

/// Handles Slack's requests.
pub struct Webhook {
    ports: Arc<Ports>,
    secret: SecretString,
    within: Duration,
    health_check: HealthCheck,
    operator: Operator,
}

impl Webhook {
    /// Creates a webhook of the app with this signing secret.
    pub fn new(ports: Arc<Ports>, secret: SecretString) -> Self {
        Self {
            secret,
            within: ANSWER_WITHIN,
            health_check: HealthCheck::new(ports.clone()),
            operator: Operator::new(ports.clone()),
            ports,
        }
    }

    /// Returns the webhook with another time to answer in than [`ANSWER_WITHIN`].
    #[must_use]
    pub fn answering_within(self, within: Duration) -> Self {
        Self { within, ..self }
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
            Ok(inbound) => self.inbound(inbound, now).await,
            Err(error) => {
                warn!(code = error.code(), %error, "request cannot be parsed");
                Response::error(400, error.code())
            }
        }
    }

    async fn inbound(&self, inbound: Inbound, now: Timestamp) -> Response {
        match inbound {
            Inbound::Command(command) => self.command(command, now).await,
            Inbound::Mention(mention) => self.mention(mention, now).await,
            Inbound::UrlVerification { challenge } => {
                Response::json(json!({ "challenge": challenge }))
            }
            Inbound::Action(action) => self.action(action, now).await,
            Inbound::Ignored { kind } => {
                info!(kind, "event ignored");
                Response::empty(200)
            }
        }
    }

    /// Answers a slash command in the response; Slack does not repeat it.
    async fn command(&self, slash: SlashCommand, now: Timestamp) -> Response {
        let request = format!("command-{}", slash.trigger_id);
        let origin = Origin {
            channel_id: slash.channel_id,
            thread_ts: None,
            user_id: slash.user_id,
        };
        let command = command::parse(&slash.text);
        let stores = command.as_ref().is_ok_and(Command::stores);
        let work = async {
            match command {
                Ok(command) => self.operator.execute(command, origin, &request, now).await,
                Err(error) => {
                    info!(code = error.code(), "command cannot be parsed");
                    Ok(Reply::ephemeral(text::command_error(&error)))
                }
            }
        };
        let reply = match tokio::time::timeout(self.within, work).await {
            Ok(Ok(reply)) => reply,
            // The command's data is stored, and the sweeper finds it. A repetition would execute it
            // again.
            Ok(Err(error @ BematicError::Queue(_))) if stores => {
                failed(&error);
                Reply::ephemeral(text::not_confirmed())
            }
            Ok(Err(error)) => Reply::ephemeral(text::internal_error(failed(&error))),
            Err(_) => {
                error!(code = "SLACK_DEADLINE", "command not answered in time");
                Reply::ephemeral(if stores {
                    text::not_confirmed()
                } else {
                    text::internal_error("SLACK_DEADLINE")
                })
            }
        };
        Response::reply(&reply)
    }

    /// Handles a mention. The response is not shown; anything but 200 makes Slack repeat the event,
    /// which creates nothing twice.
    async fn mention(&self, mention: Mention, now: Timestamp) -> Response {
        let work = async { self.execute_mention(mention, now).await.map(|()| true) };
        self.respond("mention", work).await
    }

    /// Returns the response to a request whose answer is only a status: 200 if `work` was done in
    /// time.
    async fn respond(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<bool, BematicError>>,
    ) -> Response {
        match tokio::time::timeout(self.within, work).await {
            Ok(Ok(true)) => Response::empty(200),
            Ok(Ok(false)) => Response::error(503, "NOT_DONE"),
            Ok(Err(error)) => Response::error(503, failed(&error)),
            Err(_) => {
                error!(code = "SLACK_DEADLINE", "{what} not handled in time");
                Response::error(503, "SLACK_DEADLINE")
            }
        }
    }

    async fn execute_mention(&self, mention: Mention, now: Timestamp) -> Result<(), BematicError> {
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
                match self
                    .operator
                    .run(agent, priority, prompt, origin, &request, now)
                    .await?
                {
                    // The task's card is the answer.
                    Ok(_) => return Ok(()),
                    Err(refusal) => refusal,
                }
            }
            Ok(command) => {
                self.operator
                    .execute(command, origin, &request, now)
                    .await?
                    .message
                    .text
            }
            Err(error) => text::command_error(&error),
        };
        let reply = NotifyMessage::Reply {
            event_id: mention.event_id,
            channel_id: mention.channel_id,
            thread_ts,
            text: answer,
        };
        Ok(self.ports.notifications.reply(&reply).await?)
    }
}

fn failed(error: &BematicError) -> &'static str {
    error!(code = error.code(), error = chain(error), "request failed");
    error.code()
}
