//! A person's input: a slash command, a mention, or another message.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call_arguments::CallArguments;
use crate::config::{BOT_NAME, BOT_USER_ID, SLASH_COMMAND};
use crate::deliver::{self, DeliveryOutcome, Failure};
use crate::error::Refusal;
use crate::message::{Author, Content};
use crate::request::{COMMANDS_PATH, SlashCommand};
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::{UserInChannel, Workspace};
use crate::{events, respond};

/// A person's input, as the page and `POST /control/say` send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SayRequest {
    /// The channel's id; the first channel if `None`.
    channel: Option<String>,
    /// The person's id; the first person if `None`.
    user: Option<String>,
    text: String,
    thread_ts: Option<Ts>,
    /// Whether to mention the bot before the text.
    #[serde(default)]
    mention: bool,
}

/// The outcome of a person's input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SayOutcome {
    /// The message in the channel; `None` for a slash command.
    pub ts: Option<Ts>,
    /// The delivery to the webhook; `None` for a message without a mention, which is not sent.
    pub delivery: Option<DeliveryOutcome>,
    /// The body of the webhook's response to a slash command.
    pub response: Option<Value>,
}

/// Handles a person's input as Slack does.
pub(crate) async fn handle_user_input(
    State(slack): State<Arc<Slack>>,
    Json(said): Json<SayRequest>,
) -> Result<Json<SayOutcome>, Refusal> {
    let (channel, user) = (said.channel.as_deref(), said.user.as_deref());
    let (thread, actor) = (said.thread_ts, slack.workspace().actor(channel, user)?);
    let mut text = said.text.trim().to_owned();
    if text.is_empty() {
        return Err("no_text".into());
    }
    if text.starts_with('/') && !said.mention {
        return Ok(Json(send_command(&slack, &actor, &text, thread).await));
    }
    let mention = format!("<@{BOT_USER_ID}>");
    if said.mention {
        text = format!("{mention} {text}");
    }
    let ts = {
        let workspace = &mut slack.workspace();
        text = encode_mrkdwn(&text, workspace);
        let author = Author::User(actor.user.id.clone());
        workspace.post(&actor.channel.id, thread, author, Content::plain(&text))?
    };
    let mut outcome = SayOutcome {
        ts: Some(ts),
        ..SayOutcome::default()
    };
    if actor.channel.has_bot && text.contains(&mention) {
        outcome.delivery = Some(events::send_app_mention(&slack, actor, ts, thread, &text).await);
    }
    Ok(Json(outcome))
}

async fn send_command(
    slack: &Slack,
    actor: &UserInChannel,
    typed: &str,
    thread: Option<Ts>,
) -> SayOutcome {
    let (name, text) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let (text, response_url, trigger_id) = {
        let workspace = &mut slack.workspace();
        let echo = Content::plain(&encode_mrkdwn(typed, workspace));
        let (channel, user) = (&actor.channel.id, &actor.user.id);
        let author = Author::User(user.clone());
        workspace.add_message(channel, Some(user), thread, author, echo);
        // What Slack itself refuses is not sent to the app.
        let refusal = if name == SLASH_COMMAND {
            thread.map(|_| "is not supported in threads. Sorry!".to_owned())
        } else {
            Some(format!("is not a valid command. Try {SLASH_COMMAND}."))
        };
        if let Some(refusal) = refusal {
            workspace.post_note(actor, thread, &format!("`{name}` {refusal}"));
            return SayOutcome::default();
        }
        (
            // The app's manifest asks for names as ids (`should_escape`).
            encode_mrkdwn(text.trim(), workspace),
            slack.response_url(&workspace.add_interaction("R", actor, None)),
            workspace.add_interaction("trigger.", actor, None),
        )
    };
    let command = SlashCommand {
        channel_name: &actor.channel.name,
        user_name: &actor.user.name,
        response_url: &response_url,
        ..SlashCommand::new(&actor.channel.id, &actor.user.id, &text, &trigger_id)
    };
    let outcome = deliver::post_to_webhook(slack, COMMANDS_PATH, command.body(), None).await;
    let delivery = Some(DeliveryOutcome::from(&outcome));
    let (response, error) = match outcome {
        Ok(reply) => show_answer(slack, actor, &reply.body),
        Err(failure) => {
            let shown = match failure {
                Failure::Timeout => "operation_timeout",
                _ => "dispatch_failed",
            };
            (None, Some(format!("`{shown}`: {failure}.")))
        }
    };
    if let Some(error) = error {
        let text = format!("`{name}` failed with the error {error}");
        slack.workspace().post_note(actor, None, text.trim_end());
    }
    SayOutcome {
        ts: None,
        delivery,
        response,
    }
}

/// Shows the app's response to a command, which is JSON, plain text or empty. Returns the response,
/// and Slack's refusal of it.
fn show_answer(
    slack: &Slack,
    actor: &UserInChannel,
    body: &[u8],
) -> (Option<Value>, Option<String>) {
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        return (None, None);
    }
    let answer = serde_json::from_slice(body).unwrap_or_else(|_| Value::from(text.as_ref()));
    let args = CallArguments(if answer.is_object() {
        answer.clone()
    } else {
        json!({ "text": answer.as_str().unwrap_or(&text) })
    });
    if args.text("text").is_none() && answer["blocks"].is_null() {
        return (Some(answer), None);
    }
    let shown = respond::show_response(slack, actor, None, &args);
    let refusal = shown.err().map(|Refusal { code, problems }| {
        format!("`invalid_command_response`: {code} {}", problems.join("; "))
    });
    (Some(answer), refusal)
}

/// Encodes typed text in Slack's mrkdwn: `@name`, `#channel` and links become ids and links, and the
/// rest is escaped.
fn encode_mrkdwn(text: &str, workspace: &Workspace) -> String {
    text.split_inclusive(char::is_whitespace)
        .map(|word| encode_word(word, workspace))
        .collect()
}

fn encode_word(word: &str, workspace: &Workspace) -> String {
    let split = |rest: &str| {
        let is_end = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
        let (name, rest) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
        (name.to_owned(), escape(rest))
    };
    if let Some((name, rest)) = word.strip_prefix('@').map(split) {
        let users = workspace.users.iter().map(|user| (&*user.name, &*user.id));
        let mut known = [(BOT_NAME, BOT_USER_ID)].into_iter().chain(users);
        if let Some((_, id)) = known.find(|(known, _)| name.eq_ignore_ascii_case(known)) {
            return format!("<@{id}>{rest}");
        }
    }
    if let Some((name, rest)) = word.strip_prefix('#').map(split)
        && let Ok(channel) = workspace.channel(&format!("#{name}"))
    {
        return format!("<#{}|{name}>{rest}", channel.id);
    }
    // A program may write a mention in mrkdwn already.
    let mention = word.trim_end().strip_prefix("<@");
    let mentioned = mention.and_then(|rest| rest.strip_suffix('>'));
    if mentioned.is_some_and(|id| id == BOT_USER_ID || workspace.user(id).is_ok()) {
        return word.to_owned();
    }
    if word.starts_with("http://") || word.starts_with("https://") {
        let link = word.trim_end();
        return format!("<{}>{}", escape(link), &word[link.len()..]);
    }
    escape(word)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn encoded(text: &str) -> String {
        encode_mrkdwn(text, &Workspace::new(Config::new("secret", "token").into()))
    }

    #[test]
    fn names_become_ids_and_the_rest_is_escaped() {
        assert_eq!(
            encoded("@bematic, fix a<b & c"),
            "<@U0BEMATIC>, fix a&lt;b &amp; c"
        );
        assert_eq!(
            encoded("ask @ada in #random"),
            "ask <@U0ADA> in <#C0RANDOM|random>"
        );
        assert_eq!(encoded("<@U0BEMATIC> hi"), "<@U0BEMATIC> hi");
        assert_eq!(
            encoded("see https://a.example/?a=1&b=2\nok"),
            "see <https://a.example/?a=1&amp;b=2>\nok"
        );
    }

    #[test]
    fn unknown_names_stay_as_they_were_typed() {
        assert_eq!(
            encoded("@nobody #nowhere <@U404> <script>"),
            "@nobody #nowhere &lt;@U404&gt; &lt;script&gt;"
        );
    }
}
