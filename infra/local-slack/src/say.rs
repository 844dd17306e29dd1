//! A person's input: a slash command, a mention, or another message.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::Args;
use crate::config::Config;
use crate::deliver::{self, Delivery};
use crate::error::{Code, Refusal};
use crate::message::{Author, Content};
use crate::place::Place;
use crate::request::{SignedRequest, SlashCommand};
use crate::state::Slack;
use crate::tickets::Ticket;
use crate::ts::Ts;
use crate::{events, respond, typed};

/// A person's input, as the page and `POST /control/say` send it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Say {
    /// The channel's id; the first channel if `None`.
    pub(crate) channel: Option<String>,
    /// The person's id; the first person if `None`.
    pub(crate) user: Option<String>,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thread_ts: Option<Ts>,
    /// Whether to mention the bot before the text.
    #[serde(default)]
    pub(crate) mention: bool,
}

/// The outcome of a person's input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SayOutcome {
    /// The message in the channel; `None` for a slash command.
    pub ts: Option<Ts>,
    /// The delivery to the webhook; `None` for a message without a mention, which is not sent.
    pub delivery: Option<Delivery>,
    /// The body of the webhook's response to a slash command.
    pub response: Option<Value>,
}

/// Handles a person's input as Slack does.
pub(crate) async fn say(slack: &Arc<Slack>, said: Say) -> Result<SayOutcome, Refusal> {
    let place = Place::find(slack, said.channel.as_deref(), said.user.as_deref())?;
    let text = said.text.trim();
    if text.is_empty() {
        return Err(Code::NoText.into());
    }
    if text.starts_with('/') && !said.mention {
        return Ok(command(slack, &place, text, said.thread_ts).await);
    }
    let mention = typed::mention(&slack.config.bot.user_id);
    let text = if said.mention {
        format!("{mention} {text}")
    } else {
        text.to_owned()
    };
    message(slack, &place, &text, said.thread_ts).await
}

async fn message(
    slack: &Arc<Slack>,
    place: &Place,
    text: &str,
    thread: Option<Ts>,
) -> Result<SayOutcome, Refusal> {
    let (ts, text, mentioned) = {
        let workspace = &mut slack.workspace();
        let content = Content::plain(&typed::encode(text, workspace));
        let text = content.text.clone();
        let author = Author::User(place.user.clone());
        let ts = workspace.post(&place.channel, thread, author, content, slack.now())?;
        let has_bot = workspace.channel(&place.channel)?.has_bot;
        let mentioned = has_bot && typed::mentions_bot(&text, &workspace.app);
        (ts, text, mentioned)
    };
    let delivery = if mentioned {
        Some(events::app_mention(slack, place, ts, thread, &text).await)
    } else {
        None
    };
    Ok(SayOutcome {
        ts: Some(ts),
        delivery,
        response: None,
    })
}

async fn command(slack: &Slack, place: &Place, typed: &str, thread: Option<Ts>) -> SayOutcome {
    let (name, text) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    echo(slack, place, typed, thread);
    if let Some(refusal) = refusal(slack, name, thread) {
        place.note(slack, thread, &refusal);
        return SayOutcome::default();
    }
    let ticket = place.ticket(slack, None);
    let request = command_request(slack, place, name, text.trim(), &ticket);
    let outcome = deliver::post(slack, request, None).await;
    let delivery = Some(Delivery::from(&outcome));
    let response = match outcome {
        Ok(reply) => show_answer(slack, place, name, &ticket, &reply.body),
        Err(failure) => {
            let shown = failure.shown();
            let text = format!("`{name}` failed with the error `{shown}`: {failure}.");
            place.note(slack, None, &text);
            None
        }
    };
    SayOutcome {
        delivery,
        response,
        ts: None,
    }
}

/// Returns Slack's refusal of a command that is not sent to the app.
fn refusal(slack: &Slack, name: &str, thread: Option<Ts>) -> Option<String> {
    let commands = &slack.config.commands;
    if !commands.iter().any(|known| known == name) {
        let known = commands.join(", ");
        return Some(format!("`{name}` is not a valid command. Try {known}."));
    }
    thread.map(|_| format!("`{name}` is not supported in threads. Sorry!"))
}

/// Shows the person the command that they typed.
fn echo(slack: &Slack, place: &Place, typed: &str, thread: Option<Ts>) {
    let content = Content::plain(&typed::encode(typed, &slack.workspace()));
    place.post(slack, thread, Author::User(place.user.clone()), content);
}

fn command_request(
    slack: &Slack,
    place: &Place,
    name: &str,
    text: &str,
    ticket: &Ticket,
) -> SignedRequest {
    let (response_url, trigger_id) = {
        let workspace = &mut slack.workspace();
        let response_url = respond::url(slack, workspace, ticket.clone());
        let trigger_id = workspace.issue("trigger.", ticket.clone(), slack.now());
        (response_url, trigger_id)
    };
    let Config { team, bot, .. } = &slack.config;
    let command = SlashCommand {
        team_id: &team.id,
        team_domain: &team.domain,
        app_id: &bot.app_id,
        channel_name: &place.channel_name,
        user_name: &place.user_name,
        command: name,
        response_url: &response_url,
        ..SlashCommand::new(&place.channel, &place.user, text, &trigger_id)
    };
    let secret = slack.config.signing_secret.expose_secret();
    command.signed(secret, slack.config.clock.secs())
}

/// Shows the app's response to a command, which is JSON, plain text or empty.
fn show_answer(
    slack: &Slack,
    place: &Place,
    name: &str,
    ticket: &Ticket,
    body: &[u8],
) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        return None;
    }
    let answer = serde_json::from_slice(body).unwrap_or_else(|_| Value::from(text.as_ref()));
    let args = match &answer {
        Value::Object(object) => Args::from(object.clone()),
        other => Args::from_iter([("text", other.as_str().unwrap_or(&text))]),
    };
    let silent = args.text("text").is_none() && answer["blocks"].is_null();
    if !silent && let Err(refusal) = respond::show(slack, ticket, &args) {
        let code: &str = refusal.code.into();
        let why = refusal.problems.join("; ");
        let text =
            format!("`{name}` failed with the error `invalid_command_response`: {code} {why}");
        place.note(slack, None, text.trim_end());
    }
    Some(answer)
}
