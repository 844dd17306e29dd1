//! The Web API: authorization, faults and rate limits, and the methods below `/api/{method}`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::call_arguments::CallArguments;
use crate::config::{APP_ID, BOT_ID, BOT_NAME, BOT_USER_ID, TEAM_ID, TEAM_NAME, User};
use crate::error::{Code, Refusal, rate_limited_response};
use crate::faults::Fault;
use crate::state::Slack;
use crate::{blocks, chat, conversations};

/// Answers a call of a Web API method.
pub(crate) async fn handle_call(
    State(slack): State<Arc<Slack>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let args = match CallArguments::read(&headers, &query.unwrap_or_default(), &body) {
        Ok(args) => args,
        Err(refusal) => return refusal.into_response(),
    };
    let response = match authorize(&slack, &headers, &args) {
        Ok(()) => execute_with_faults(&slack, &method, &args).await,
        Err(code) => Refusal::from(code).into_response(),
    };
    slack.faults().record_call(json!({
        "method": method, "channel": args.text("channel"), "ts": args.text("ts"),
        "at": slack.config.clock.micros(), "status": response.status().as_u16(),
    }));
    response
}

fn authorize(slack: &Slack, headers: &HeaderMap, args: &CallArguments) -> Result<(), Code> {
    let header = headers.get(header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| value.strip_prefix("Bearer "));
    match bearer.or(args.text("token")) {
        None => Err("not_authed"),
        Some(token) if token == slack.config.bot_token.expose_secret() => Ok(()),
        Some(_) => Err("invalid_auth"),
    }
}

/// Applies faults and rate limits, and executes the call.
async fn execute_with_faults(slack: &Slack, method: &str, args: &CallArguments) -> Response {
    let channel = args.text("channel").unwrap_or_default();
    let fault = slack.faults().take(method, channel).unwrap_or_default();
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let mut failure = fault_response(&fault);
    if let Some(failure) = failure.take_if(|_| !fault.after_effect) {
        return failure;
    }
    let now = slack.config.clock.micros();
    if let Err(wait) = slack.faults().admit(method, channel, now) {
        return rate_limited_response(wait);
    }
    let outcome = execute(slack, method, args);
    failure.unwrap_or_else(|| match outcome {
        Ok(mut answer) => {
            answer["ok"] = json!(true);
            Json(answer).into_response()
        }
        Err(refusal) => refusal.into_response(),
    })
}

/// Returns the response of a fault that replaces the method's.
fn fault_response(fault: &Fault) -> Option<Response> {
    if fault.status == Some(429) {
        return Some(rate_limited_response(fault.retry_after));
    }
    if let Some(status) = fault.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Some((status, "injected failure").into_response());
    }
    let error = fault.error.as_ref()?;
    Some(Json(json!({ "ok": false, "error": error })).into_response())
}

fn execute(slack: &Slack, method: &str, args: &CallArguments) -> Result<Value, Refusal> {
    match method {
        "api.test" => Ok(json!({})),
        "auth.test" => Ok(json!({
            "url": slack.origin, "team": TEAM_NAME, "team_id": TEAM_ID,
            "user": BOT_NAME, "user_id": BOT_USER_ID, "bot_id": BOT_ID,
            "is_enterprise_install": false,
        })),
        "chat.postMessage" => chat::post_message(slack, args),
        "chat.update" => chat::update(slack, args),
        "chat.postEphemeral" => chat::post_ephemeral(slack, args),
        "chat.delete" => chat::delete(slack, args),
        "conversations.history" => conversations::history(slack, args),
        "conversations.replies" => conversations::replies(slack, args),
        "conversations.info" => conversations::info(slack, args),
        "conversations.list" => Ok(conversations::list(slack)),
        "users.info" => users_info(slack, args),
        "views.open" => views_open(slack, args),
        _ => Err("unknown_method".into()),
    }
}

fn users_info(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let id = args.required("user")?;
    let user = if id == BOT_USER_ID {
        User {
            id: id.to_owned(),
            name: BOT_NAME.to_lowercase(),
            real_name: BOT_NAME.to_owned(),
            is_bot: true,
            ..User::default()
        }
    } else {
        match slack.workspace().user(id) {
            Ok(user) => user.clone(),
            Err(_) if slack.config.knows_everybody => User {
                id: id.to_owned(),
                name: id.to_lowercase(),
                real_name: id.to_owned(),
                ..User::default()
            },
            Err(error) => return Err(error.into()),
        }
    };
    let mut answer = json!({
        "id": id, "team_id": TEAM_ID, "name": user.name, "real_name": user.real_name,
        "deleted": user.deleted, "is_bot": user.is_bot,
        "profile": { "real_name": user.real_name, "display_name": user.name },
    });
    // Slack leaves these fields out of a deactivated account.
    if !user.deleted {
        answer["tz"] = json!("Etc/UTC");
        answer["tz_offset"] = json!(0);
        answer["is_restricted"] = json!(user.is_restricted || user.is_ultra_restricted);
        answer["is_ultra_restricted"] = json!(user.is_ultra_restricted);
        answer["is_stranger"] = json!(user.is_stranger);
    }
    Ok(json!({ "user": answer }))
}

/// Opens a modal on the pages of the person whose interaction issued the trigger.
fn views_open(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let trigger = args.required("trigger_id")?;
    let view = args.json("view", "invalid_arguments")?;
    let mut view = view.ok_or_else(|| Refusal::missing("view"))?;
    blocks::check_modal(&view)?;
    let workspace = &mut slack.workspace();
    let user = workspace.use_trigger(trigger)?;
    workspace.assign_block_ids(&mut view["blocks"]);
    view["id"] = json!(workspace.next_unique_id("V"));
    view["hash"] = view["id"].clone();
    view["app_id"] = json!(APP_ID);
    view["state"] = json!({ "values": {} });
    workspace.publish(|| json!({ "type": "view", "user": user, "view": view }));
    Ok(json!({ "view": view }))
}
