//! The app's responses to interactions: bodies of its answers, and posts to a `response_url`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::call_arguments::CallArguments;
use crate::chat;
use crate::error::Refusal;
use crate::message::Author;
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::UserInChannel;

/// Answers a post to a `response_url`.
pub(crate) async fn handle_response_url(
    State(slack): State<Arc<Slack>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shown = CallArguments::read(&headers, "", &body).and_then(|args| {
        let interaction = slack.workspace().use_response_url(&id)?;
        show_response(&slack, &interaction.actor, interaction.message, &args)
    });
    match shown {
        Ok(()) => "ok".into_response(),
        Err(refusal) if matches!(refusal.code, "expired_url" | "used_url") => {
            (StatusCode::NOT_FOUND, refusal).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Shows a response: to the person who acted, to the channel, or in place of the `original`, the
/// message whose button was pressed.
pub(crate) fn show_response(
    slack: &Slack,
    actor: &UserInChannel,
    original: Option<Ts>,
    args: &CallArguments,
) -> Result<(), Refusal> {
    let workspace = &mut slack.workspace();
    let channel = &actor.channel.id;
    if args.flag("delete_original") {
        workspace.remove(channel, original.ok_or("message_not_found")?);
        return Ok(());
    }
    let content = chat::parse_new_content(workspace, args)?;
    if args.flag("replace_original") {
        workspace.replace_content(channel, original.ok_or("message_not_found")?, content);
        return Ok(());
    }
    let thread = args.thread()?;
    if args.text("response_type") == Some("in_channel") {
        workspace.post(channel, thread, Author::Bot, content)?;
    } else {
        let only_for = Some(&*actor.user.id);
        workspace.add_message(channel, only_for, thread, Author::Bot, content);
    }
    Ok(())
}
