//! The requests from Slack, parsed into one owned value. Unknown fields are ignored.

use bematic_protocol::{
    ids::{ChannelId, MessageTs, UserId},
    messages::reason_without_value,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::form_urlencoded;

/// The longest id of a mention or a button. Slack's have some 50 characters; SQS takes up to 128
/// printable ASCII characters as a de-duplication id.
const MAX_ID_CHARS: usize = 100;

/// The kind of a request, by the path that it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A slash command, sent as a form.
    Commands,
    /// An event of the Events API, sent as JSON.
    Events,
    /// A pressed button, sent as a form with one field of JSON.
    Interactions,
}

/// A request from Slack, and the installation that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InboundRequest {
    pub installation: Installation,
    pub inbound: Inbound,
}

/// The installation of an app that a request is of, as far as Slack names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Installation {
    pub team_id: Option<String>,
    pub app_id: Option<String>,
}

/// What somebody or Slack asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound {
    Command(SlashCommand),
    /// Slack verifies the endpoint: the challenge is sent back.
    UrlVerification {
        challenge: String,
    },
    Mention(Mention),
    Action(ButtonPress),
    /// A request that Bematic does not handle: answered with 200 so that Slack does not repeat it.
    Ignored {
        /// Slack's name for the kind of request, for the log.
        kind: String,
    },
}

/// A slash command, `/bm …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlashCommand {
    pub channel_id: ChannelId,
    pub user_id: UserId,
    /// The text after the command's name, as Slack escapes it.
    pub text: String,
    /// Slack's id of this request, by which a repetition is detected.
    pub trigger_id: String,
}

/// A message that mentions the bot, `@bot …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    /// Slack's id of this event, by which a repetition is detected.
    pub event_id: String,
    pub channel_id: ChannelId,
    pub user_id: UserId,
    /// The whole message, as Slack escapes it.
    pub text: String,
    pub ts: MessageTs,
    pub thread_ts: Option<MessageTs>,
    /// The workspace of the person, if Slack names it.
    pub user_team_id: Option<String>,
}

/// A pressed button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ButtonPress {
    pub action_id: String,
    /// The value of the button: the subject of the action.
    pub value: Option<String>,
    pub user_id: UserId,
    pub channel_id: Option<ChannelId>,
    /// Slack's id of this request; empty if it sent none.
    pub trigger_id: String,
    /// The workspace of the person, if Slack names it.
    pub user_team_id: Option<String>,
}

/// Why a request from Slack cannot be parsed. The text is logged, and quotes nothing of the
/// request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    /// Not JSON, or not of the shape that the structs below describe, for this reason.
    #[error("the body is not what Slack sends: {0}")]
    Body(String),
    /// A field that this kind of request needs is missing or empty.
    #[error("the request has no {0}")]
    Missing(&'static str),
    /// A field has a value that is not valid, for this reason.
    #[error("the request's {0} is not valid: {1}")]
    Field(&'static str, String),
}

impl From<serde_json::Error> for InboundError {
    fn from(error: serde_json::Error) -> Self {
        Self::Body(reason_without_value(&error.to_string()))
    }
}

impl InboundError {
    /// Returns the stable code, for logs.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "SLACK_BODY_INVALID",
            Self::Missing(_) => "SLACK_FIELD_MISSING",
            Self::Field(..) => "SLACK_FIELD_INVALID",
        }
    }
}

/// Parses a request's body. The signature has to be verified first.
pub(crate) fn parse(endpoint: Endpoint, body: &[u8]) -> Result<InboundRequest, InboundError> {
    match endpoint {
        Endpoint::Commands => parse_command(&parse_form(body)),
        Endpoint::Events => parse_event(body),
        Endpoint::Interactions => {
            parse_interaction(&field::<String>(&parse_form(body), "payload")?)
        }
    }
}

fn parse_form(body: &[u8]) -> Value {
    form_urlencoded::parse(body).collect()
}

fn parse_command(form: &Value) -> Result<InboundRequest, InboundError> {
    let installation = Installation {
        team_id: field(form, "team_id")?,
        app_id: field(form, "api_app_id")?,
    };
    // Slack checks the endpoint's certificate now and then.
    let inbound = if form["ssl_check"] == "1" {
        ignored("ssl_check")
    } else {
        Inbound::Command(SlashCommand {
            channel_id: field(form, "channel_id")?,
            user_id: field(form, "user_id")?,
            text: field::<Option<_>>(form, "text")?.unwrap_or_default(),
            trigger_id: field(form, "trigger_id")?,
        })
    };
    Ok(InboundRequest {
        installation,
        inbound,
    })
}

/// The fields of an event's body that are read. Others are skipped whatever they are.
#[derive(Deserialize)]
struct OuterEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    challenge: Value,
    #[serde(default)]
    event_id: Value,
    #[serde(default)]
    api_app_id: Value,
    #[serde(default)]
    team_id: Value,
    /// The workspace through which the app receives an event of a channel that workspaces share.
    #[serde(default)]
    context_team_id: Value,
    event: Option<InnerEvent>,
}

/// The fields of an event that are read. Events that are ignored may have values of any type under
/// these names.
#[derive(Default, Deserialize)]
#[serde(default)]
struct InnerEvent {
    #[serde(rename = "type")]
    kind: Value,
    bot_id: Value,
    channel: Value,
    user: Value,
    text: Value,
    ts: Value,
    thread_ts: Value,
    /// The workspace of the person, in a channel that workspaces share.
    user_team: Value,
    /// The workspace that the message was sent from.
    team: Value,
}

fn parse_event(body: &[u8]) -> Result<InboundRequest, InboundError> {
    let body: OuterEvent = serde_json::from_slice(body)?;
    let installation = Installation {
        team_id: text_of(&body.context_team_id).or_else(|| text_of(&body.team_id)),
        app_id: text_of(&body.api_app_id),
    };
    Ok(InboundRequest {
        installation,
        inbound: parse_inner_event(body)?,
    })
}

fn parse_inner_event(body: OuterEvent) -> Result<Inbound, InboundError> {
    let event = body.event.unwrap_or_default();
    match (&*body.kind, event.kind.as_str()) {
        ("url_verification", _) => Ok(Inbound::UrlVerification {
            challenge: not_empty(&body.challenge, "challenge")?,
        }),
        // Mentions by bots, including Bematic itself, are ignored: two bots that mention each other
        // would never end.
        ("event_callback", Some("app_mention")) if !event.bot_id.is_null() => {
            Ok(ignored("app_mention by a bot"))
        }
        ("event_callback", Some("app_mention")) => Ok(Inbound::Mention(Mention {
            event_id: checked_id(not_empty(&body.event_id, "event_id")?, "event_id")?,
            channel_id: not_empty(&event.channel, "event.channel")?,
            user_id: not_empty(&event.user, "event.user")?,
            text: deserialize_field(&event.text, "event.text")?,
            ts: not_empty(&event.ts, "event.ts")?,
            thread_ts: not_empty(&event.thread_ts, "event.thread_ts")?,
            user_team_id: text_of(&event.user_team).or_else(|| text_of(&event.team)),
        })),
        ("event_callback", _) => {
            let kind: String = deserialize_field(&event.kind, "event.type")?;
            Ok(ignored(&kind))
        }
        (kind, _) => Ok(ignored(kind)),
    }
}

#[derive(Deserialize)]
struct InteractionKind {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    team: Value,
    #[serde(default)]
    api_app_id: Value,
}

/// The fields of a pressed button's payload that are read. Others are skipped whatever they are:
/// `message` is the whole card, which may hold half an emoji of an agent's output.
#[derive(Deserialize)]
struct BlockActionsPayload {
    #[serde(default)]
    actions: Vec<BlockAction>,
    user: PressingUser,
    channel: Option<WithId<ChannelId>>,
    trigger_id: Option<String>,
}

#[derive(Deserialize)]
struct BlockAction {
    action_id: String,
    value: Option<String>,
}

#[derive(Deserialize)]
struct WithId<T> {
    id: T,
}

#[derive(Deserialize)]
struct PressingUser {
    id: UserId,
    #[serde(default)]
    team_id: Value,
}

fn parse_interaction(payload: &str) -> Result<InboundRequest, InboundError> {
    let kind: InteractionKind = serde_json::from_str(payload)?;
    let installation = Installation {
        team_id: text_of(&kind.team["id"]),
        app_id: text_of(&kind.api_app_id),
    };
    Ok(InboundRequest {
        installation,
        inbound: parse_button_press(&kind.kind, payload)?,
    })
}

fn parse_button_press(kind: &str, payload: &str) -> Result<Inbound, InboundError> {
    if kind != "block_actions" {
        return Ok(ignored(kind));
    }
    let payload: BlockActionsPayload = serde_json::from_str(payload)?;
    // Slack sends one action at a time, though in a list.
    let pressed = payload
        .actions
        .into_iter()
        .next()
        .ok_or(InboundError::Missing("actions"))?;
    Ok(Inbound::Action(ButtonPress {
        action_id: pressed.action_id,
        value: pressed.value,
        user_id: payload.user.id,
        channel_id: payload.channel.map(|channel| channel.id),
        trigger_id: checked_id(payload.trigger_id.unwrap_or_default(), "trigger_id")?,
        user_team_id: text_of(&payload.user.team_id),
    }))
}

/// Checks Slack's id of a mention or a pressed button, which becomes an id in SQS.
fn checked_id(id: String, name: &'static str) -> Result<String, InboundError> {
    if id.len() > MAX_ID_CHARS || !id.chars().all(|c| c.is_ascii_graphic()) {
        let reason = format!("it is not up to {MAX_ID_CHARS} printable ASCII characters");
        return Err(InboundError::Field(name, reason));
    }
    Ok(id)
}

/// Returns the text of a value; `None` for any other value, and for an empty text.
fn text_of(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(ToOwned::to_owned)
}

fn ignored(kind: &str) -> Inbound {
    Inbound::Ignored { kind: kind.into() }
}

/// Returns a field of a form. An empty text counts as missing, which an optional field may be.
fn field<T: DeserializeOwned>(form: &Value, name: &'static str) -> Result<T, InboundError> {
    not_empty(&form[name], name)
}

/// Converts the value of the field `name`. Null and an empty text count as missing.
fn not_empty<T: DeserializeOwned>(value: &Value, name: &'static str) -> Result<T, InboundError> {
    deserialize_field(if *value == "" { &Value::Null } else { value }, name)
}

/// Converts the parsed value of the field `name`, which the error names.
fn deserialize_field<T: DeserializeOwned>(
    value: &Value,
    name: &'static str,
) -> Result<T, InboundError> {
    T::deserialize(value).map_err(|error: serde_json::Error| match value {
        Value::Null => InboundError::Missing(name),
        _ => InboundError::Field(name, reason_without_value(&error.to_string())),
    })
}

#[cfg(test)]
mod tests;
