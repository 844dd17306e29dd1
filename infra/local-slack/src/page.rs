//! The page, and the event stream that keeps it up to date.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream::{self, Stream, StreamExt};
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::state::Slack;

/// The content security policy: only the page's own files, so that the content of a message cannot
/// load or run anything.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

macro_rules! assets {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("../assets/", $name)))),*] };
}

/// The page's files, with their contents.
const ASSETS: [(&str, &str); 10] = assets! {
    "index.html" "style.css" "app.js" "blocks.js" "dom.js" "emoji.js" "markdown.js" "modal.js"
    "mrkdwn.js" "send.js"
};

pub(crate) fn routes() -> Router<Arc<Slack>> {
    Router::new()
        .route("/", get(|| serve_asset(Path("index.html".to_owned()))))
        .route("/assets/{name}", get(serve_asset))
        .route("/live", get(serve_event_stream))
}

async fn serve_asset(Path(wanted): Path<String>) -> Response {
    let Some((name, content)) = ASSETS.iter().find(|(name, _)| *name == wanted) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, *content).into_response()
}

/// Streams a snapshot, and then every change. A page that falls behind gets a new snapshot.
async fn serve_event_stream(
    State(slack): State<Arc<Slack>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stop = slack.stop.clone().cancelled_owned();
    let changes = change_stream(slack).map(|change| Ok(Event::default().data(change.to_string())));
    Sse::new(changes.take_until(Box::pin(stop))).keep_alive(KeepAlive::default())
}

/// Returns a snapshot and later changes, which are subscribed to under one lock, so that no change
/// is missed.
fn change_stream(slack: Arc<Slack>) -> impl Stream<Item = Value> {
    stream::unfold((slack, None), |(slack, receiver)| async move {
        if let Some(mut receiver) = receiver {
            match Receiver::recv(&mut receiver).await {
                Ok(change) => return Some((change, (slack, Some(receiver)))),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {}
            }
        }
        let (snapshot, receiver) = {
            let workspace = slack.workspace();
            (workspace.page_snapshot(), workspace.changes.subscribe())
        };
        Some((snapshot, (slack, Some(receiver))))
    })
}
