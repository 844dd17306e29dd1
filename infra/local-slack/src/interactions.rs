//! Interactions: pressed buttons and submitted modals.

use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::config::Config;
use crate::deliver::{self, Delivery};
use crate::error::{Code, Refusal};
use crate::message::render;
use crate::place::Place;
use crate::request::{FORM, SignedRequest};
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::Workspace;

/// A pressed button, as the page and `POST /control/click` send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Click {
    pub(crate) channel: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) message_ts: Ts,
    pub(crate) action_id: String,
    /// The block with the action; the first one that has it if `None`.
    pub(crate) block_id: Option<String>,
}

/// A submitted modal, as the page and `POST /control/submit` send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submit {
    pub(crate) user: Option<String>,
    /// The modal as it was opened.
    pub(crate) view: Value,
    /// The person's input, by block id and action id.
    pub(crate) values: Value,
}

/// Sends a `block_actions` for a pressed button.
pub(crate) async fn click(slack: &Slack, click: &Click) -> Result<Delivery, Refusal> {
    let (channel, user) = (click.channel.as_deref(), click.user.as_deref());
    let place = slack.workspace().place(channel, user)?;
    let (payload, thread) = block_actions(slack, &place, click)?;
    let outcome = deliver::post(slack, form(slack, &payload), None).await;
    if let Err(failure) = &outcome {
        let text = format!(":warning: The button did nothing: {failure}.");
        slack.workspace().post_note(&place, thread, &text);
    }
    Ok(Delivery::from(&outcome))
}

/// Sends a `view_submission`. Returns the app's response, which may have errors to show.
pub(crate) async fn submit(slack: &Slack, submit: Submit) -> Result<Value, Refusal> {
    let mut payload = {
        let workspace = &mut slack.workspace();
        let place = workspace.place(None, submit.user.as_deref())?;
        envelope(workspace, &place, "view_submission")
    };
    payload["view"] = submit.view;
    payload["view"]["state"] = json!({ "values": submit.values });
    payload["response_urls"] = json!([]);
    let outcome = deliver::post(slack, form(slack, &payload), None).await;
    let delivery = Delivery::from(&outcome);
    let answer: Value = outcome
        .ok()
        .and_then(|reply| serde_json::from_slice(&reply.body).ok())
        .unwrap_or_default();
    Ok(json!({ "delivery": delivery, "answer": answer }))
}

fn form(slack: &Slack, payload: &Value) -> SignedRequest {
    let mut form = form_urlencoded::Serializer::new(String::new());
    let form = form.append_pair("payload", &payload.to_string()).finish();
    slack.sign("/slack/interactions", FORM, form)
}

fn envelope(workspace: &mut Workspace, place: &Place, kind: &str) -> Value {
    let trigger = workspace.issue("trigger.", place, None);
    let Config { team, bot, .. } = &*workspace.config;
    let Place { user, .. } = place;
    json!({
        "type": kind, "token": "local", "trigger_id": trigger, "api_app_id": bot.app_id,
        "team": { "id": team.id, "domain": team.domain }, "enterprise": null,
        "is_enterprise_install": false,
        "user": { "id": user.id, "username": user.name, "name": user.name, "team_id": team.id },
    })
}

fn block_actions(
    slack: &Slack,
    place: &Place,
    click: &Click,
) -> Result<(Value, Option<Ts>), Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = (&place.channel, click.message_ts);
    let message = workspace.message_or_ephemeral(&channel.id, ts)?;
    let (thread, is_ephemeral) = (message.thread, message.only_for.is_some());
    let view = render(message, &slack.config, true);
    let mut action = find(&view["blocks"], click)?;
    action["action_ts"] = json!(Ts(workspace.unique()));
    let mut payload = envelope(workspace, place, "block_actions");
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
    let response_url = slack.response_url(&workspace.issue("R", place, Some(ts)));
    payload["response_url"] = json!(response_url);
    payload["actions"] = json!([action]);
    Ok((payload, thread))
}

/// Returns the pressed element, as the payload has it. It is searched in all blocks if the named
/// block does not exist: a block whose id the app did not choose gets a new id with every update.
fn find(blocks: &Value, click: &Click) -> Result<Value, Code> {
    let blocks = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
    let named = blocks
        .iter()
        .find(|block| block["block_id"].as_str() == click.block_id.as_deref());
    let found = named
        .into_iter()
        .chain(blocks)
        .find_map(|block| action_in(block, click));
    found.ok_or(Code::InvalidArguments)
}

fn action_in(block: &Value, click: &Click) -> Option<Value> {
    let elements = block["elements"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut elements = elements.iter().chain([&block["accessory"]]);
    let mut action = elements
        .find(|one| one["action_id"] == *click.action_id)?
        .clone();
    action["block_id"] = block["block_id"].clone();
    Some(action)
}
