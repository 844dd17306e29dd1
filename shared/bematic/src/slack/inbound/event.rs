//! The requests of Slack's Events API.

use bematic_protocol::ids::{ChannelId, MessageTs, UserId};
use serde::Deserialize;
use serde_json::Value;

use super::request::{Inbound, InboundError, Mention};

/// The envelope of a request, parsed before its event: an event of another kind may have any form.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    challenge: Option<String>,
    team_id: Option<String>,
    event_id: Option<String>,
    event: Option<Value>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
    bot_id: Option<String>,
}

#[derive(Deserialize)]
struct AppMention {
    channel: ChannelId,
    user: UserId,
    text: String,
    ts: MessageTs,
    thread_ts: Option<MessageTs>,
}

pub(super) fn parse(body: &[u8]) -> Result<Inbound, InboundError> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| InboundError::json(&error))?;
    match envelope.kind.as_str() {
        "url_verification" => Ok(Inbound::UrlVerification {
            challenge: envelope
                .challenge
                .ok_or(InboundError::MissingField("challenge"))?,
        }),
        "event_callback" => event(envelope),
        _ => Ok(Inbound::Ignored {
            kind: envelope.kind,
        }),
    }
}

fn event(envelope: Envelope) -> Result<Inbound, InboundError> {
    let event = envelope.event.ok_or(InboundError::MissingField("event"))?;
    let Kind { kind, bot_id } = read(&event)?;
    if kind != "app_mention" {
        return Ok(Inbound::Ignored { kind });
    }
    // Mentions by bots, including Bematic itself, are ignored: two bots that mention each other
    // would never end.
    if bot_id.is_some() {
        let kind = "app_mention by a bot".to_owned();
        return Ok(Inbound::Ignored { kind });
    }
    let mention: AppMention = read(&event)?;
    Ok(Inbound::Mention(Mention {
        team_id: envelope
            .team_id
            .ok_or(InboundError::MissingField("team_id"))?,
        event_id: envelope
            .event_id
            .ok_or(InboundError::MissingField("event_id"))?,
        channel_id: mention.channel,
        user_id: mention.user,
        text: mention.text,
        ts: mention.ts,
        thread_ts: mention.thread_ts,
    }))
}

fn read<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, InboundError> {
    T::deserialize(value).map_err(|error| InboundError::json(&error))
}
