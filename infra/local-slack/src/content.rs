//! Parsing and validation of a message's content: text, blocks and metadata.

use serde_json::{Value, json};

use crate::args::Args;
use crate::blocks;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::message::Content;
use crate::workspace::Workspace;

/// Parses and checks the content of a call or a response, with a text of at most `most_text`
/// characters.
pub(crate) fn read(args: &Args, most_text: usize) -> Result<Content, Refusal> {
    let text = args.text("text").unwrap_or_default();
    let blocks = args.json("blocks", Code::InvalidBlocksFormat)?;
    if blocks::length(text) > most_text {
        return Err(Code::MsgTooLong.into());
    }
    if let Some(blocks) = &blocks {
        blocks::check(blocks)?;
    }
    Ok(Content {
        text: text.to_owned(),
        blocks,
        metadata: metadata(args)?,
    })
}

/// Whether the content has neither a text nor a block.
pub(crate) fn is_empty(content: &Content) -> bool {
    let blocks = content.blocks.as_ref().and_then(Value::as_array);
    content.text.is_empty() && blocks.is_none_or(Vec::is_empty)
}

/// Gives the blocks ids, and turns an empty list of blocks into none.
pub(crate) fn finish(mut content: Content, workspace: &mut Workspace, now: u64) -> Content {
    if let Some(blocks) = &mut content.blocks {
        name_blocks(blocks, workspace, now);
    }
    content
        .blocks
        .take_if(|blocks| blocks.as_array().is_some_and(Vec::is_empty));
    content
}

/// Gives an id to every block that has none, as Slack does.
pub(crate) fn name_blocks(blocks: &mut Value, workspace: &mut Workspace, now: u64) {
    for block in blocks.as_array_mut().into_iter().flatten() {
        if block["block_id"].is_null() {
            block["block_id"] = json!(workspace.id("b", now));
        }
    }
}

fn metadata(args: &Args) -> Result<Option<Value>, Refusal> {
    let Some(metadata) = args.json("metadata", Code::InvalidMetadataFormat)? else {
        return Ok(None);
    };
    let is_empty = metadata.as_object().is_some_and(serde_json::Map::is_empty);
    let is_event = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
    if !is_empty && !is_event {
        return Err(Code::InvalidMetadataFormat.into());
    }
    if metadata.to_string().len() > limits::METADATA_BYTES {
        return Err(Code::MetadataTooLarge.into());
    }
    Ok(Some(metadata))
}
