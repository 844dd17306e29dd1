//! The Web API methods `chat.*`: posting, updating and deleting messages.

use serde_json::{Value, json};

use crate::args::Args;
use crate::content;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::message::{Author, render};
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::Workspace;

pub(crate) fn post_message(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let channel = workspace
        .joined_channel(args.required("channel")?)?
        .id
        .clone();
    let thread = args.ts("thread_ts", Code::ThreadNotFound)?;
    let content = content::read_some(args, limits::POSTED_TEXT, workspace)?;
    let ts = workspace.post(&channel, thread, Author::Bot, content)?;
    let message = render(workspace.message(&channel, ts)?, &slack.config, true);
    Ok(json!({ "channel": channel, "ts": ts, "message": message }))
}

pub(crate) fn post_ephemeral(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let channel = workspace
        .joined_channel(args.required("channel")?)?
        .id
        .clone();
    let user = args.required("user")?;
    workspace.user(user).map_err(|_| Code::UserNotInChannel)?;
    let thread = args.ts("thread_ts", Code::ThreadNotFound)?;
    let content = content::read_some(args, limits::POSTED_TEXT, workspace)?;
    let ts = workspace.post_ephemeral(&channel, user, thread, Author::Bot, content);
    Ok(json!({ "message_ts": ts }))
}

/// Updates a message, which keeps the present blocks and metadata if the call leaves them out.
pub(crate) fn update(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = own_message(workspace, args, Code::CantUpdateMessage)?;
    let mut content = content::read(args, limits::UPDATED_TEXT, workspace)?;
    if content.text.is_empty() && content.blocks.is_none() {
        return Err(Code::NoText.into());
    }
    let old = &workspace.message(&channel, ts)?.content;
    content.blocks = content.blocks.or_else(|| old.blocks.clone());
    content.blocks.take_if(|blocks| *blocks == json!([]));
    content.metadata = content.metadata.or_else(|| old.metadata.clone());
    content.metadata.take_if(|metadata| *metadata == json!({}));
    let text = content.text.clone();
    workspace.rewrite(&channel, ts, content);
    let message = render(workspace.message(&channel, ts)?, &slack.config, true);
    Ok(json!({ "channel": channel, "ts": ts, "text": text, "message": message }))
}

pub(crate) fn delete(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = own_message(workspace, args, Code::CantDeleteMessage)?;
    workspace.remove(&channel, ts);
    Ok(json!({ "channel": channel, "ts": ts }))
}

/// Finds the call's message, which the bot must have posted.
fn own_message(workspace: &Workspace, args: &Args, not_own: Code) -> Result<(String, Ts), Refusal> {
    // Slack accepts a channel's id here, not its name.
    let channel = args.required("channel")?;
    if workspace.channel(channel)?.id != channel {
        return Err(Code::ChannelNotFound.into());
    }
    let ts = args.required_ts("ts", Code::MessageNotFound)?;
    if workspace.message(channel, ts)?.author != Author::Bot {
        return Err(not_own.into());
    }
    Ok((channel.to_owned(), ts))
}
