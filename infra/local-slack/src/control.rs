//! `/control/*`: the page's actions, and switches for tests. Slack has no such API.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::events;
use crate::interactions::{click, submit};
use crate::say::handle_user_input;
use crate::state::Slack;

pub(crate) fn routes() -> Router<Arc<Slack>> {
    Router::new()
        .route("/control/say", post(handle_user_input))
        .route("/control/click", post(click))
        .route("/control/submit", post(submit))
        .route("/control/webhook", post(set_webhook))
        .route("/control/channels", post_route_for(Slack::add_channel))
        .route("/control/users", post_route_for(Slack::add_user))
        .route(
            "/control/rate-limits",
            post_route_for(Slack::set_rate_limits),
        )
        .route("/control/faults", post_route_for(Slack::add_fault))
        .route("/control/calls", get(list_calls))
}

/// The body of `POST /control/webhook`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetWebhook {
    base: String,
    /// Whether to send a `url_verification`, as Slack does when an app's address is set.
    #[serde(default)]
    verify: bool,
}

async fn set_webhook(
    State(slack): State<Arc<Slack>>,
    Json(wanted): Json<SetWebhook>,
) -> Json<Value> {
    slack.set_webhook(&wanted.base);
    if wanted.verify
        && let Err(error) = events::verify_url(&slack).await
    {
        return Json(json!({ "ok": false, "error": error }));
    }
    Json(json!({ "ok": true }))
}

/// Returns a POST route that applies its body to the local Slack.
fn post_route_for<T: DeserializeOwned + Send + 'static>(
    change: fn(&Slack, T),
) -> MethodRouter<Arc<Slack>> {
    post(
        move |State(slack): State<Arc<Slack>>, Json(body): Json<T>| async move {
            change(&slack, body);
            Json(json!({ "ok": true }))
        },
    )
}

async fn list_calls(State(slack): State<Arc<Slack>>) -> Json<Value> {
    Json(json!({ "calls": slack.faults().calls }))
}
