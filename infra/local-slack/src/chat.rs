//! The Web API methods `chat.*`: posting, updating and deleting messages.

use serde_json::{Value, json};

use crate::args::Args;
use crate::content;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::message::{Author, Content, render};
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::Workspace;

pub(crate) fn post_message(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let now = slack.now();
    let workspace = &mut slack.workspace();
    let channel = joined_channel(workspace, args)?;
    let thread = args.ts("thread_ts", Code::ThreadNotFound)?;
    let content = read_content(args, limits::POSTED_TEXT, workspace, now)?;
    let ts = workspace.post(&channel, thread, Author::Bot, content, now)?;
    let message = render(workspace.message(&channel, ts)?, &workspace.app, true);
    Ok(json!({ "channel": channel, "ts": ts, "message": message }))
}

pub(crate) fn post_ephemeral(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let now = slack.now();
    let workspace = &mut slack.workspace();
    let channel = joined_channel(workspace, args)?;
    let user = args.required("user")?;
    workspace.user(user).map_err(|_| Code::UserNotInChannel)?;
    let thread = args.ts("thread_ts", Code::ThreadNotFound)?;
    let content = read_content(args, limits::POSTED_TEXT, workspace, now)?;
    let ts = workspace.post_ephemeral(&channel, user, thread, Author::Bot, content, now);
    Ok(json!({ "message_ts": ts }))
}

pub(crate) fn update(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let now = slack.now();
    let workspace = &mut slack.workspace();
    let (channel, ts) = own_message(workspace, args, Code::CantUpdateMessage)?;
    let content = content::read(args, limits::UPDATED_TEXT)?;
    if content.text.is_empty() && content.blocks.is_none() {
        return Err(Code::NoText.into());
    }
    let content = content::finish(content, workspace, now);
    let given_blocks = args.json("blocks", Code::InvalidBlocksFormat)?.is_some();
    let content = keep_what_was_not_given(workspace, &channel, ts, content, given_blocks)?;
    let text = content.text.clone();
    workspace.rewrite(&channel, ts, content, now);
    let message = render(workspace.message(&channel, ts)?, &workspace.app, true);
    Ok(json!({ "channel": channel, "ts": ts, "text": text, "message": message }))
}

pub(crate) fn delete(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = own_message(workspace, args, Code::CantDeleteMessage)?;
    workspace.remove(&channel, ts);
    Ok(json!({ "channel": channel, "ts": ts }))
}

/// Returns the id of the call's channel, which the bot must be a member of.
fn joined_channel(workspace: &Workspace, args: &Args) -> Result<String, Refusal> {
    let channel = workspace.channel(args.required("channel")?)?;
    if !channel.has_bot {
        return Err(Code::NotInChannel.into());
    }
    Ok(channel.id.clone())
}

fn read_content(
    args: &Args,
    most: usize,
    workspace: &mut Workspace,
    now: u64,
) -> Result<Content, Refusal> {
    let content = content::read(args, most)?;
    if content::is_empty(&content) {
        return Err(Code::NoText.into());
    }
    Ok(content::finish(content, workspace, now))
}

fn own_message(workspace: &Workspace, args: &Args, not_own: Code) -> Result<(String, Ts), Refusal> {
    // Slack accepts a channel's id here, not its name.
    let channel = args.required("channel")?;
    let channel = workspace
        .channel(channel)
        .ok()
        .filter(|found| found.id == channel);
    let channel = channel.ok_or(Code::ChannelNotFound)?.id.clone();
    args.required("ts")?;
    let ts = args
        .ts("ts", Code::MessageNotFound)?
        .ok_or(Code::MessageNotFound)?;
    if workspace.message(&channel, ts)?.author != Author::Bot {
        return Err(not_own.into());
    }
    Ok((channel, ts))
}

/// Keeps the present blocks and metadata of a message for those that an update leaves out.
fn keep_what_was_not_given(
    workspace: &Workspace,
    channel: &str,
    ts: Ts,
    new: Content,
    given_blocks: bool,
) -> Result<Content, Refusal> {
    let old = &workspace.message(channel, ts)?.content;
    let blocks = if given_blocks {
        new.blocks
    } else {
        old.blocks.clone()
    };
    let mut metadata = new.metadata.or_else(|| old.metadata.clone());
    metadata.take_if(|metadata| metadata.as_object().is_some_and(serde_json::Map::is_empty));
    Ok(Content {
        text: new.text,
        blocks,
        metadata,
    })
}
