//! Pressed buttons and submitted modals.

use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::deliver::{self, Delivery};
use super::error::{Code, Refusal};
use super::message::render;
use super::place::{Place, note};
use super::respond;
use super::state::Slack;
use super::ts::Ts;
use super::workspace::Workspace;

const PATH: &str = "/slack/interactions";

/// A pressed button, as the page and `POST /control/click` send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Click {
    pub(super) channel: Option<String>,
    pub(super) user: Option<String>,
    pub(super) message_ts: Ts,
    pub(super) action_id: String,
    /// The first block that has the action, if none is named.
    pub(super) block_id: Option<String>,
}

/// A submitted modal, as the page and `POST /control/submit` send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Submit {
    pub(super) user: Option<String>,
    /// The view as it was opened.
    pub(super) view: Value,
    /// What was typed, by block id and action id.
    pub(super) values: Value,
}

/// Sends `block_actions`.
pub(super) async fn click(slack: &Slack, click: &Click) -> Result<Delivery, Refusal> {
    let place = Place::find(slack, click.channel.as_deref(), click.user.as_deref())?;
    let (payload, thread) = block_actions(slack, &place, click)?;
    let outcome = deliver::post(slack, PATH, deliver::FORM, form(&payload), None).await;
    if let Err(failure) = &outcome {
        let text = format!(":warning: The button did nothing: {failure}.");
        note(slack, &place, thread, &text);
    }
    Ok(Delivery::of(&outcome, |reply| reply.status))
}

/// Sends `view_submission`; gives what the app answered, which may be errors to show.
pub(super) async fn submit(slack: &Slack, submit: &Submit) -> Result<Value, Refusal> {
    let place = Place::find(slack, None, submit.user.as_deref())?;
    let mut view = submit.view.clone();
    view["state"] = json!({ "values": submit.values });
    let payload = {
        let workspace = &mut slack.workspace();
        let mut payload = envelope(slack, workspace, &place, "view_submission");
        payload["view"] = view;
        payload["response_urls"] = json!([]);
        payload
    };
    let outcome = deliver::post(slack, PATH, deliver::FORM, form(&payload), None).await;
    let delivery = Delivery::of(&outcome, |reply| reply.status);
    let answer: Value = outcome
        .ok()
        .and_then(|reply| serde_json::from_slice(&reply.body).ok())
        .unwrap_or_default();
    Ok(json!({ "delivery": delivery, "answer": answer }))
}

fn form(payload: &Value) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &payload.to_string()).finish()
}

fn envelope(slack: &Slack, workspace: &mut Workspace, place: &Place, kind: &str) -> Value {
    let trigger = workspace.issue(
        "trigger.",
        place.ticket(slack, None),
        slack.config.clock.micros(),
    );
    let app = &workspace.app;
    json!({
        "type": kind, "token": "local", "trigger_id": trigger, "api_app_id": app.bot.app_id,
        "team": { "id": app.team.id, "domain": app.team.domain }, "enterprise": null,
        "is_enterprise_install": false,
        "user": {
            "id": place.user, "username": place.user_name, "name": place.user_name,
            "team_id": app.team.id,
        },
    })
}

fn block_actions(
    slack: &Slack,
    place: &Place,
    click: &Click,
) -> Result<(Value, Option<Ts>), Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = (&place.channel, click.message_ts);
    let whisper = workspace.whisper(channel, ts);
    let is_ephemeral = whisper.is_some();
    let message = whisper.map_or_else(|| workspace.message(channel, ts), Ok)?;
    let thread = message.thread;
    let view = render(message, &workspace.app, true);
    let mut action = find(&view["blocks"], click)?;
    action["action_ts"] = json!(Ts(workspace.unique(slack.config.clock.micros())));
    let mut payload = envelope(slack, workspace, place, "block_actions");
    payload["container"] = json!({
        "type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": is_ephemeral,
    });
    if let Some(thread) = thread {
        payload["container"]["thread_ts"] = json!(thread);
    }
    payload["channel"] = json!({ "id": channel, "name": place.channel_name });
    if !is_ephemeral {
        payload["message"] = view;
    }
    payload["state"] = json!({ "values": {} });
    payload["response_url"] = json!(respond::url(
        slack,
        workspace,
        place.ticket(slack, Some(ts))
    ));
    payload["actions"] = json!([action]);
    Ok((payload, thread))
}

/// The element that was acted on, as the payload names it. A block without an id of the app's own
/// gets a new one with every update, so an unknown block is no reason to lose a press.
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
