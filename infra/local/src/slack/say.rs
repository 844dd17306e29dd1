//! What happens when a person presses Send: a slash command, a mention, or a plain message.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::form_urlencoded;

use super::args::Args;
use super::deliver::{self, Delivery};
use super::error::{Code, Refusal};
use super::message::{Author, Content};
use super::place::{Place, note};
use super::state::Slack;
use super::tickets::Ticket;
use super::ts::Ts;
use super::{events, respond, typed};

/// Something a person says, as the page's box and `POST /control/say` take it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Say {
    /// The first channel, if none is named.
    pub(super) channel: Option<String>,
    /// The first user, if none is named.
    pub(super) user: Option<String>,
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) thread_ts: Option<Ts>,
    /// Mentions the bot, whatever its name, before the text.
    #[serde(default)]
    pub(super) mention: bool,
}

/// What became of something said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The message in the channel; a slash command leaves none.
    pub ts: Option<Ts>,
    /// What the webhook said; nothing for a plain message, which it is not sent.
    pub delivery: Option<Delivery>,
    /// The body of the webhook's answer to a slash command.
    pub response: Option<Value>,
}

/// Does what Slack does with what was typed.
pub(super) async fn say(slack: &Arc<Slack>, said: Say) -> Result<Said, Refusal> {
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
) -> Result<Said, Refusal> {
    let now = slack.config.clock.micros();
    let (ts, content, mentioned) = {
        let workspace = &mut slack.workspace();
        let content = Content {
            text: typed::encode(text, workspace),
            ..Content::default()
        };
        let author = Author::User(place.user.clone());
        let ts = workspace.post(&place.channel, thread, author, content.clone(), now)?;
        let has_bot = workspace.channel(&place.channel)?.has_bot;
        let mentioned = has_bot && typed::mentions_bot(&content.text, &workspace.app);
        (ts, content, mentioned)
    };
    let delivery = if mentioned {
        Some(events::app_mention(slack, place, ts, thread, &content.text).await)
    } else {
        None
    };
    Ok(Said {
        ts: Some(ts),
        delivery,
        response: None,
    })
}

async fn command(slack: &Slack, place: &Place, typed: &str, thread: Option<Ts>) -> Said {
    let (name, text) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    echo(slack, place, typed, thread);
    if !slack.config.commands.iter().any(|known| known == name) {
        let known = slack.config.commands.join(", ");
        note(
            slack,
            place,
            thread,
            &format!("`{name}` is not a valid command. Try {known}."),
        );
        return Said::default();
    }
    if thread.is_some() {
        note(
            slack,
            place,
            thread,
            &format!("`{name}` is not supported in threads. Sorry!"),
        );
        return Said::default();
    }
    let ticket = place.ticket(slack, None);
    let body = command_form(slack, place, name, text.trim(), &ticket);
    let outcome = deliver::post(slack, "/slack/commands", deliver::FORM, body, None).await;
    let delivery = Some(Delivery::of(&outcome, |reply| reply.status));
    match outcome {
        Ok(reply) => Said {
            delivery,
            response: show_answer(slack, place, name, &ticket, &reply.body),
            ts: None,
        },
        Err(failure) => {
            let shown = failure.shown();
            note(
                slack,
                place,
                None,
                &format!("`{name}` failed with the error `{shown}`: {failure}."),
            );
            Said {
                delivery,
                ..Said::default()
            }
        }
    }
}

/// Shows the person what was typed, as Slack's own box would keep it in mind.
fn echo(slack: &Slack, place: &Place, typed: &str, thread: Option<Ts>) {
    let now = slack.config.clock.micros();
    let workspace = &mut slack.workspace();
    let content = Content {
        text: typed::encode(typed, workspace),
        ..Content::default()
    };
    let author = Author::User(place.user.clone());
    workspace.post_whisper(&place.channel, &place.user, thread, author, content, now);
}

fn command_form(slack: &Slack, place: &Place, name: &str, text: &str, ticket: &Ticket) -> String {
    let workspace = &mut slack.workspace();
    let now = slack.config.clock.micros();
    let response_url = respond::url(slack, workspace, ticket.clone());
    let trigger_id = workspace.issue("trigger.", ticket.clone(), now);
    let app = &workspace.app;
    form_urlencoded::Serializer::new(String::new())
        .append_pair("token", "local")
        .append_pair("team_id", &app.team.id)
        .append_pair("team_domain", &app.team.domain)
        .append_pair("channel_id", &place.channel)
        .append_pair("channel_name", &place.channel_name)
        .append_pair("user_id", &place.user)
        .append_pair("user_name", &place.user_name)
        .append_pair("command", name)
        .append_pair("text", text)
        .append_pair("api_app_id", &app.bot.app_id)
        .append_pair("is_enterprise_install", "false")
        .append_pair("response_url", &response_url)
        .append_pair("trigger_id", &trigger_id)
        .finish()
}

/// Shows the answer to a command: JSON, or plain text; nothing for nothing.
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
        note(slack, place, None, text.trim_end());
    }
    Some(answer)
}
