//! Parsing and validation of a message's content: text, blocks and metadata.

use serde_json::{Value, json};

use crate::args::Args;
use crate::blocks;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::message::Content;
use crate::workspace::Workspace;

/// Parses and checks the content of a call, with a text of at most `most_text` characters, and
/// gives its blocks ids.
pub(crate) fn read(
    args: &Args,
    most_text: usize,
    workspace: &mut Workspace,
) -> Result<Content, Refusal> {
    let text = args.text("text").unwrap_or_default();
    let mut blocks = args.json("blocks", Code::InvalidBlocksFormat)?;
    if blocks::length(text) > most_text {
        return Err(Code::MsgTooLong.into());
    }
    if let Some(blocks) = &mut blocks {
        blocks::check(blocks)?;
        name_blocks(blocks, workspace);
    }
    Ok(Content {
        text: text.to_owned(),
        blocks,
        metadata: metadata(args)?,
    })
}

/// Parses and checks the content of a new message, which must have a text or a block.
pub(crate) fn read_some(
    args: &Args,
    most_text: usize,
    workspace: &mut Workspace,
) -> Result<Content, Refusal> {
    let mut content = read(args, most_text, workspace)?;
    content.blocks.take_if(|blocks| *blocks == json!([]));
    if content.text.is_empty() && content.blocks.is_none() {
        return Err(Code::NoText.into());
    }
    Ok(content)
}

/// Gives an id to every block that has none, as Slack does.
pub(crate) fn name_blocks(blocks: &mut Value, workspace: &mut Workspace) {
    for block in blocks.as_array_mut().into_iter().flatten() {
        if block["block_id"].is_null() {
            block["block_id"] = json!(workspace.id("b"));
        }
    }
}

fn metadata(args: &Args) -> Result<Option<Value>, Refusal> {
    let Some(metadata) = args.json("metadata", Code::InvalidMetadataFormat)? else {
        return Ok(None);
    };
    let is_event = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
    if metadata != json!({}) && !is_event {
        return Err(Code::InvalidMetadataFormat.into());
    }
    if metadata.to_string().len() > limits::METADATA_BYTES {
        return Err(Code::MetadataTooLarge.into());
    }
    Ok(Some(metadata))
}
