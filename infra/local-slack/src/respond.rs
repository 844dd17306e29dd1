//! The app's responses to interactions: bodies of its answers, and posts to a `response_url`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::args::Args;
use crate::content;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::message::Author;
use crate::place::Place;
use crate::state::Slack;
use crate::ts::Ts;

/// Answers a post to a `response_url`.
pub(crate) async fn answer(
    State(slack): State<Arc<Slack>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shown = Args::read(&headers, "", &body).and_then(|args| {
        let ticket = slack.workspace().use_response_url(&id)?;
        show(&slack, &ticket.place, ticket.message, &args)
    });
    match shown {
        Ok(()) => "ok".into_response(),
        Err(refusal) if matches!(refusal.code, Code::ExpiredUrl | Code::UsedUrl) => {
            (StatusCode::NOT_FOUND, refusal).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Shows a response: to the person who acted, to the channel, or in place of the `original`, the
/// message whose button was pressed.
pub(crate) fn show(
    slack: &Slack,
    place: &Place,
    original: Option<Ts>,
    args: &Args,
) -> Result<(), Refusal> {
    let workspace = &mut slack.workspace();
    let channel = &place.channel.id;
    if args.flag("delete_original") {
        workspace.remove(channel, original.ok_or(Code::MessageNotFound)?);
        return Ok(());
    }
    let content = content::read_some(args, limits::POSTED_TEXT, workspace)?;
    if args.flag("replace_original") {
        workspace.rewrite(channel, original.ok_or(Code::MessageNotFound)?, content);
        return Ok(());
    }
    let thread = args.ts("thread_ts", Code::ThreadNotFound)?;
    if args.text("response_type") == Some("in_channel") {
        workspace.post(channel, thread, Author::Bot, content)?;
    } else {
        workspace.post_ephemeral(channel, &place.user.id, thread, Author::Bot, content);
    }
    Ok(())
}
