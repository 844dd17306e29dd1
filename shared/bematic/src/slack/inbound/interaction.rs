//! The requests for pressed buttons.

use bematic_protocol::ids::{ChannelId, MessageTs, UserId};
use serde::Deserialize;

use super::{
    form::Form,
    request::{Action, Inbound, InboundError},
};

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct BlockActions {
    user: User,
    team: Option<WithId<String>>,
    channel: Option<WithId<ChannelId>>,
    message: Option<Posted>,
    container: Option<Container>,
    trigger_id: String,
    response_url: Option<String>,
    #[serde(default)]
    actions: Vec<Pressed>,
}

#[derive(Deserialize)]
struct User {
    id: UserId,
    team_id: Option<String>,
}

#[derive(Deserialize)]
struct WithId<T> {
    id: T,
}

#[derive(Deserialize)]
struct Posted {
    ts: MessageTs,
}

#[derive(Deserialize)]
struct Container {
    message_ts: Option<MessageTs>,
}

#[derive(Deserialize)]
struct Pressed {
    action_id: String,
    value: Option<String>,
    selected_option: Option<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    value: String,
}

pub(super) fn parse(body: &[u8]) -> Result<Inbound, InboundError> {
    let form = Form::parse(body);
    let payload = form.required("payload")?;
    let Kind { kind } = read(payload)?;
    if kind != "block_actions" {
        return Ok(Inbound::Ignored { kind });
    }
    action(read(payload)?)
}

fn action(payload: BlockActions) -> Result<Inbound, InboundError> {
    // Slack sends one action at a time, though in a list.
    let pressed = payload
        .actions
        .into_iter()
        .next()
        .ok_or(InboundError::MissingField("actions"))?;
    let message_ts = payload
        .message
        .map(|message| message.ts)
        .or_else(|| payload.container.and_then(|it| it.message_ts));
    Ok(Inbound::Action(Action {
        team_id: payload
            .team
            .map(|team| team.id)
            .or(payload.user.team_id)
            .ok_or(InboundError::MissingField("team"))?,
        action_id: pressed.action_id,
        value: pressed
            .value
            .or_else(|| pressed.selected_option.map(|choice| choice.value)),
        user_id: payload.user.id,
        channel_id: payload.channel.map(|channel| channel.id),
        message_ts,
        trigger_id: payload.trigger_id,
        response_url: payload.response_url,
    }))
}

fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, InboundError> {
    serde_json::from_str(json).map_err(|error| InboundError::json(&error))
}
