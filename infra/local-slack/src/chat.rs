//! The Web API methods `chat.*`: posting, updating and deleting messages.

use serde_json::{Value, json};

use crate::blocks;
use crate::call_arguments::CallArguments;
use crate::error::{Code, Refusal};
use crate::message::{Author, Content};
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::Workspace;

/// Characters of the `text` of a posted message. Slack truncates a longer one; the local Slack
/// refuses it, so that the mistake is noticed.
const MAX_POSTED_TEXT_CHARS: usize = 40_000;
/// Characters of the `text` of `chat.update`.
const MAX_UPDATED_TEXT_CHARS: usize = 4_000;
/// A message's metadata, in bytes of JSON.
const MAX_METADATA_BYTES: usize = 8_000;

pub(crate) fn post_message(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let channel = joined_channel(workspace, args)?;
    let thread = args.thread()?;
    let content = parse_new_content(workspace, args)?;
    let ts = workspace.post(&channel, thread, Author::Bot, content)?;
    let message = workspace
        .find_non_ephemeral_message(&channel, ts)?
        .json(true);
    Ok(json!({ "channel": channel, "ts": ts, "message": message }))
}

pub(crate) fn post_ephemeral(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let channel = joined_channel(workspace, args)?;
    let user = args.required("user")?;
    workspace.user(user).map_err(|_| "user_not_in_channel")?;
    let thread = args.thread()?;
    let content = parse_new_content(workspace, args)?;
    let ts = workspace.add_message(&channel, Some(user), thread, Author::Bot, content);
    Ok(json!({ "message_ts": ts }))
}

/// Updates a message, which keeps the present blocks and metadata if the call leaves them out.
pub(crate) fn update(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = find_own_message(workspace, args, "cant_update_message")?;
    let mut content = parse_content(workspace, args, MAX_UPDATED_TEXT_CHARS)?;
    if content.text.is_empty() && content.blocks.is_none() {
        return Err("no_text".into());
    }
    let old = &workspace.find_non_ephemeral_message(&channel, ts)?.content;
    content.blocks = content.blocks.or_else(|| old.blocks.clone());
    content.blocks.take_if(|blocks| *blocks == json!([]));
    content.metadata = content.metadata.or_else(|| old.metadata.clone());
    content.metadata.take_if(|metadata| *metadata == json!({}));
    let text = content.text.clone();
    workspace.replace_content(&channel, ts, content);
    let message = workspace
        .find_non_ephemeral_message(&channel, ts)?
        .json(true);
    Ok(json!({ "channel": channel, "ts": ts, "text": text, "message": message }))
}

pub(crate) fn delete(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let workspace = &mut slack.workspace();
    let (channel, ts) = find_own_message(workspace, args, "cant_delete_message")?;
    workspace.remove(&channel, ts);
    Ok(json!({ "channel": channel, "ts": ts }))
}

fn joined_channel(workspace: &Workspace, args: &CallArguments) -> Result<String, Refusal> {
    let channel = workspace.joined_channel(args.required("channel")?)?;
    Ok(channel.id.clone())
}

/// Finds the call's message, which the bot must have posted.
fn find_own_message(
    workspace: &Workspace,
    args: &CallArguments,
    not_own: Code,
) -> Result<(String, Ts), Refusal> {
    // Slack accepts a channel's id here, not its name.
    let channel = args.required("channel")?;
    if workspace.channel(channel)?.id != channel {
        return Err("channel_not_found".into());
    }
    let ts = args.message_ts("message_not_found")?;
    if workspace.find_non_ephemeral_message(channel, ts)?.author != Author::Bot {
        return Err(not_own.into());
    }
    Ok((channel.to_owned(), ts))
}

/// Parses and checks the content of a new message, which must have a text or a block.
pub(crate) fn parse_new_content(
    workspace: &mut Workspace,
    args: &CallArguments,
) -> Result<Content, Refusal> {
    let mut content = parse_content(workspace, args, MAX_POSTED_TEXT_CHARS)?;
    content.blocks.take_if(|blocks| *blocks == json!([]));
    if content.text.is_empty() && content.blocks.is_none() {
        return Err("no_text".into());
    }
    Ok(content)
}

/// Parses and checks the content of a call, and gives its blocks ids.
fn parse_content(
    workspace: &mut Workspace,
    args: &CallArguments,
    most_text: usize,
) -> Result<Content, Refusal> {
    let text = args.text("text").unwrap_or_default();
    let mut blocks = args.json("blocks", "invalid_blocks_format")?;
    if blocks::utf16_length(text) > most_text {
        return Err("msg_too_long".into());
    }
    if let Some(blocks) = &mut blocks {
        blocks::check_message_blocks(blocks)?;
        workspace.assign_block_ids(blocks);
    }
    let metadata = args.json("metadata", "invalid_metadata_format")?;
    if let Some(metadata) = &metadata {
        let is_event = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
        if *metadata != json!({}) && !is_event {
            return Err("invalid_metadata_format".into());
        }
        if metadata.to_string().len() > MAX_METADATA_BYTES {
            return Err("metadata_too_large".into());
        }
    }
    Ok(Content {
        text: text.to_owned(),
        blocks,
        metadata,
    })
}
