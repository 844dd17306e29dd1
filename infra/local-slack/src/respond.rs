//! The app's responses to interactions: bodies of its answers, and posts to a `response_url`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::args::Args;
use crate::content;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::message::Author;
use crate::state::Slack;
use crate::tickets::Ticket;
use crate::ts::Ts;
use crate::workspace::Workspace;

pub(crate) fn routes() -> Router<Arc<Slack>> {
    Router::new().route("/responses/{id}", post(answer))
}

/// Returns the `response_url` of an interaction.
pub(crate) fn url(slack: &Slack, workspace: &mut Workspace, ticket: Ticket) -> String {
    let id = workspace.issue("R", ticket, slack.now());
    format!("{}/responses/{id}", slack.origin)
}

async fn answer(
    State(slack): State<Arc<Slack>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match Args::read(&headers, "", &body).and_then(|args| take(&slack, &id, &args)) {
        Ok(()) => "ok".into_response(),
        Err(refusal) if matches!(refusal.code, Code::ExpiredUrl | Code::UsedUrl) => {
            (StatusCode::NOT_FOUND, refusal).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn take(slack: &Slack, id: &str, args: &Args) -> Result<(), Refusal> {
    let ticket = slack
        .workspace()
        .tickets
        .respond(id, slack.config.clock.secs())?;
    show(slack, &ticket, args).map(drop)
}

/// Shows a response: to the person who acted, to the channel, or in place of the message whose
/// button was pressed. Returns the `ts` of the message that shows it.
pub(crate) fn show(slack: &Slack, ticket: &Ticket, args: &Args) -> Result<Option<Ts>, Refusal> {
    let now = slack.now();
    let workspace = &mut slack.workspace();
    if args.flag("delete_original") {
        let original = ticket.message.ok_or(Code::MessageNotFound)?;
        workspace.remove(&ticket.channel, original);
        return Ok(None);
    }
    let content = content::read(args, limits::POSTED_TEXT)?;
    if content::is_empty(&content) {
        return Err(Code::NoText.into());
    }
    let content = content::finish(content, workspace, now);
    if args.flag("replace_original") {
        let original = ticket.message.ok_or(Code::MessageNotFound)?;
        workspace.rewrite(&ticket.channel, original, content, now);
        return Ok(Some(original));
    }
    let thread = args.ts("thread_ts", Code::ThreadNotFound)?;
    let (channel, user) = (&ticket.channel, &ticket.user);
    let shown = if args.text("response_type") == Some("in_channel") {
        workspace.post(channel, thread, Author::Bot, content, now)?
    } else {
        workspace.post_ephemeral(channel, user, thread, Author::Bot, content, now)
    };
    Ok(Some(shown))
}
