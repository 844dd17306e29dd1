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

use crate::args::Args;
use crate::config::Config;
use crate::error::{Code, Refusal, rate_limited};
use crate::faults::{Call, Fault};
use crate::state::Slack;
use crate::{chat, conversations, views};

/// Answers a call of a Web API method.
pub(crate) async fn answer(
    State(slack): State<Arc<Slack>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let args = match Args::read(&headers, &query.unwrap_or_default(), &body) {
        Ok(args) => args,
        Err(refusal) => return refusal.into_response(),
    };
    let response = match authorize(&slack, &headers, &args) {
        Ok(()) => execute(&slack, &method, &args).await,
        Err(code) => Refusal::from(code).into_response(),
    };
    record(&slack, &method, &args, &response);
    response
}

fn authorize(slack: &Slack, headers: &HeaderMap, args: &Args) -> Result<(), Code> {
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| value.strip_prefix("Bearer "));
    match bearer.or(args.text("token")) {
        None => Err(Code::NotAuthed),
        Some(token) if token == slack.config.bot_token.expose_secret() => Ok(()),
        Some(_) => Err(Code::InvalidAuth),
    }
}

/// Applies faults and rate limits, then executes the call.
async fn execute(slack: &Slack, method: &str, args: &Args) -> Response {
    let fault = slack.faults().take(method, args.text("channel"));
    if let Some(fault) = &fault {
        if fault.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        }
        if let Some(failure) = failure(fault).filter(|_| !fault.after_effect) {
            return failure;
        }
    }
    let channel = args.text("channel").unwrap_or_default();
    let admission = slack
        .faults()
        .admit(method, channel, slack.config.clock.micros());
    if let Err(wait) = admission {
        return rate_limited(wait);
    }
    let outcome = call(slack, method, args);
    if let Some(failure) = fault.and_then(|fault| failure(&fault)) {
        return failure;
    }
    match outcome {
        Ok(mut answer) => {
            answer["ok"] = json!(true);
            Json(answer).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn failure(fault: &Fault) -> Option<Response> {
    if fault.status == Some(429) {
        return Some(rate_limited(fault.retry_after));
    }
    if let Some(status) = fault.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Some((status, "injected failure").into_response());
    }
    let error = fault.error.as_ref()?;
    Some(Json(json!({ "ok": false, "error": error })).into_response())
}

fn record(slack: &Slack, method: &str, args: &Args, response: &Response) {
    slack.faults().record(Call {
        method: method.to_owned(),
        channel: args.text("channel").map(str::to_owned),
        ts: args.text("ts").map(str::to_owned),
        at: slack.config.clock.micros(),
        status: response.status().as_u16(),
    });
}

fn call(slack: &Slack, method: &str, args: &Args) -> Result<Value, Refusal> {
    match method {
        "api.test" => Ok(json!({})),
        "auth.test" => Ok(auth_test(slack)),
        "chat.postMessage" => chat::post_message(slack, args),
        "chat.update" => chat::update(slack, args),
        "chat.postEphemeral" => chat::post_ephemeral(slack, args),
        "chat.delete" => chat::delete(slack, args),
        "conversations.history" => conversations::history(slack, args),
        "conversations.replies" => conversations::replies(slack, args),
        "conversations.info" => conversations::info(slack, args),
        "conversations.list" => Ok(conversations::list(slack)),
        "users.info" => users_info(slack, args),
        "views.open" => views::open(slack, args),
        _ => Err(Code::UnknownMethod.into()),
    }
}

fn auth_test(slack: &Slack) -> Value {
    let Config { team, bot, .. } = &*slack.config;
    json!({
        "url": slack.origin, "team": team.name, "team_id": team.id,
        "user": bot.name, "user_id": bot.user_id, "bot_id": bot.id,
        "is_enterprise_install": false,
    })
}

fn users_info(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let workspace = slack.workspace();
    let id = args.required("user")?;
    let bot = &slack.config.bot;
    let is_bot = id == bot.user_id;
    let (name, real_name) = if is_bot {
        (bot.name.to_lowercase(), bot.name.clone())
    } else {
        let user = workspace.user(id)?;
        (user.name.clone(), user.real_name.clone())
    };
    Ok(json!({ "user": {
        "id": id, "team_id": slack.config.team.id, "name": name, "real_name": real_name,
        "deleted": false, "is_bot": is_bot, "tz": "Etc/UTC", "tz_offset": 0,
        "profile": { "real_name": real_name, "display_name": name },
    }}))
}
