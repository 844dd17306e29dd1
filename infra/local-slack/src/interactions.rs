//! Interactions: pressed buttons and submitted modals.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{APP_ID, TEAM_DOMAIN, TEAM_ID};
use crate::deliver::{self, DeliveryOutcome, Failure, WebhookResponse};
use crate::error::Refusal;
use crate::request::{INTERACTIONS_PATH, encode_form};
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::{UserInChannel, Workspace};

/// A pressed button, as the page and `POST /control/click` send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Click {
    channel: Option<String>,
    user: Option<String>,
    message_ts: Ts,
    action_id: String,
    /// The block with the action; the first one that has it if `None`.
    block_id: Option<String>,
}

/// A submitted modal, as the page and `POST /control/submit` send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submit {
    user: Option<String>,
    /// The modal as it was opened.
    view: Value,
    /// The person's input, by block id and action id.
    values: Value,
}

/// Sends a `block_actions` for a pressed button.
pub(crate) async fn click(
    State(slack): State<Arc<Slack>>,
    Json(click): Json<Click>,
) -> Result<Json<Value>, Refusal> {
    let (channel, user) = (click.channel.as_deref(), click.user.as_deref());
    let actor = slack.workspace().actor(channel, user)?;
    let payload = block_actions(&slack, &actor, &click)?;
    let outcome = post_payload(&slack, &payload).await;
    if let Err(failure) = &outcome {
        let text = format!(":warning: The button did nothing: {failure}.");
        let thread = Ts::deserialize(&payload["container"]["thread_ts"]).ok();
        slack.workspace().post_note(&actor, thread, &text);
    }
    Ok(Json(json!({ "delivery": DeliveryOutcome::from(&outcome) })))
}

/// Sends a `view_submission`. Returns the app's response, which may have errors to show.
pub(crate) async fn submit(
    State(slack): State<Arc<Slack>>,
    Json(submit): Json<Submit>,
) -> Result<Json<Value>, Refusal> {
    let mut payload = {
        let workspace = &mut slack.workspace();
        let actor = workspace.actor(None, submit.user.as_deref())?;
        new_base_payload(workspace, &actor, "view_submission")
    };
    payload["view"] = submit.view;
    payload["view"]["state"] = json!({ "values": submit.values });
    payload["response_urls"] = json!([]);
    let outcome = post_payload(&slack, &payload).await;
    let delivery = DeliveryOutcome::from(&outcome);
    let answer: Value = outcome
        .ok()
        .and_then(|reply| serde_json::from_slice(&reply.body).ok())
        .unwrap_or_default();
    Ok(Json(json!({ "delivery": delivery, "answer": answer })))
}

async fn post_payload(slack: &Slack, payload: &Value) -> Result<WebhookResponse, Failure> {
    let form = encode_form([("payload", &payload.to_string())]);
    deliver::post_to_webhook(slack, INTERACTIONS_PATH, form, None).await
}

/// Returns the fields that all payloads have, with a new `trigger_id`.
fn new_base_payload(workspace: &mut Workspace, actor: &UserInChannel, kind: &str) -> Value {
    let user = &actor.user;
    json!({
        "type": kind, "token": "local", "api_app_id": APP_ID,
        "trigger_id": workspace.add_interaction("trigger.", actor, None),
        "team": { "id": TEAM_ID, "domain": TEAM_DOMAIN }, "enterprise": null,
        "is_enterprise_install": false,
        "user": { "id": user.id, "username": user.name, "name": user.name, "team_id": TEAM_ID },
    })
}

fn block_actions(slack: &Slack, actor: &UserInChannel, click: &Click) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = (&actor.channel, click.message_ts);
    let message = workspace.find_including_ephemeral(&channel.id, ts)?;
    let (thread, is_ephemeral) = (message.thread, message.only_for.is_some());
    let view = message.json(true);
    let mut action = find_pressed_element(&view["blocks"], click).ok_or("invalid_arguments")?;
    action["action_ts"] = json!(Ts(workspace.next_unique_micros()));
    let mut payload = new_base_payload(workspace, actor, "block_actions");
    payload["container"] = json!({
        "type": "message", "message_ts": ts, "channel_id": channel.id,
        "is_ephemeral": is_ephemeral,
    });
    if let Some(thread) = thread {
        payload["container"]["thread_ts"] = json!(thread);
    }
    payload["channel"] = json!({ "id": channel.id, "name": channel.name });
    if !is_ephemeral {
        payload["message"] = view;
    }
    payload["state"] = json!({ "values": {} });
    let interaction = workspace.add_interaction("R", actor, Some(ts));
    payload["response_url"] = json!(slack.response_url(&interaction));
    payload["actions"] = json!([action]);
    Ok(payload)
}

/// Returns the pressed element, as the payload has it. It is searched in all blocks if the named
/// block does not exist: a block whose id the app did not choose gets a new id with every update.
fn find_pressed_element(blocks: &Value, click: &Click) -> Option<Value> {
    let blocks = blocks.as_array()?;
    let is_named = |block: &&Value| block["block_id"].as_str() == click.block_id.as_deref();
    let named = blocks.iter().find(is_named);
    named.into_iter().chain(blocks).find_map(|block| {
        let elements = block["elements"].as_array().into_iter().flatten();
        let mut elements = elements.chain([&block["accessory"]]);
        let mut action = elements
            .find(|element| element["action_id"] == *click.action_id)?
            .clone();
        action["block_id"] = block["block_id"].clone();
        Some(action)
    })
}
