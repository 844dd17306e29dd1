//! A person's input: a slash command, a mention, or another message.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::Args;
use crate::config::Config;
use crate::deliver::{self, Delivery};
use crate::error::{Code, Refusal};
use crate::message::{Author, Content};
use crate::place::Place;
use crate::request::SlashCommand;
use crate::state::Slack;
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
    let (channel, user) = (said.channel.as_deref(), said.user.as_deref());
    let place = slack.workspace().place(channel, user)?;
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
    let (ts, text) = {
        let workspace = &mut slack.workspace();
        let content = Content::plain(&typed::encode(&text, workspace));
        let text = content.text.clone();
        let author = Author::User(place.user.id.clone());
        let ts = workspace.post(&place.channel.id, said.thread_ts, author, content)?;
        (ts, text)
    };
    let delivery = if place.channel.has_bot && text.contains(&mention) {
        Some(events::app_mention(slack, place, ts, said.thread_ts, &text).await)
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
    let (response_url, trigger_id) = {
        let workspace = &mut slack.workspace();
        let echo = Content::plain(&typed::encode(typed, workspace));
        let (channel, user) = (&place.channel.id, &place.user.id);
        workspace.post_ephemeral(channel, user, thread, Author::User(user.clone()), echo);
        if let Some(refusal) = refusal(slack, name, thread) {
            workspace.post_note(place, thread, &refusal);
            return SayOutcome::default();
        }
        let response_url = slack.response_url(&workspace.issue("R", place, None));
        (response_url, workspace.issue("trigger.", place, None))
    };
    let Config { team, bot, .. } = &*slack.config;
    let command = SlashCommand {
        team_id: &team.id,
        team_domain: &team.domain,
        app_id: &bot.app_id,
        channel_name: &place.channel.name,
        user_name: &place.user.name,
        command: name,
        response_url: &response_url,
        ..SlashCommand::new(&place.channel.id, &place.user.id, text.trim(), &trigger_id)
    };
    let secret = slack.config.signing_secret.expose_secret();
    let request = command.signed(secret, slack.config.clock.secs());
    let outcome = deliver::post(slack, request, None).await;
    let delivery = Some(Delivery::from(&outcome));
    let response = match outcome {
        Ok(reply) => show_answer(slack, place, name, &reply.body),
        Err(failure) => {
            let shown = failure.shown();
            let text = format!("`{name}` failed with the error `{shown}`: {failure}.");
            slack.workspace().post_note(place, None, &text);
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

/// Shows the app's response to a command, which is JSON, plain text or empty.
fn show_answer(slack: &Slack, place: &Place, name: &str, body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        return None;
    }
    let answer = serde_json::from_slice(body).unwrap_or_else(|_| Value::from(text.as_ref()));
    let args = Args(if answer.is_object() {
        answer.clone()
    } else {
        json!({ "text": answer.as_str().unwrap_or(&text) })
    });
    let silent = args.text("text").is_none() && answer["blocks"].is_null();
    if !silent && let Err(refusal) = respond::show(slack, place, None, &args) {
        let code = refusal.code_name();
        let why = refusal.problems.join("; ");
        let text =
            format!("`{name}` failed with the error `invalid_command_response`: {code} {why}");
        slack.workspace().post_note(place, None, text.trim_end());
    }
    Some(answer)
}
