//! Slack's limits, in characters unless stated otherwise.
//!
//! Their source is Slack's reference for `chat.postMessage` and Block Kit, or observation where
//! that is stated.

/// The `text` of a posted message. Slack truncates a longer one; the local Slack refuses it, so that
/// the mistake is noticed.
pub(crate) const POSTED_TEXT: usize = 40_000;
/// The `text` of `chat.update`.
pub(crate) const UPDATED_TEXT: usize = 4_000;
/// The text of all blocks of a message. Undocumented: Slack was observed to accept 9 600 and to
/// refuse 11 300.
pub(crate) const ALL_BLOCKS_TEXT: usize = 11_000;
/// The text of all `markdown` blocks of a message.
pub(crate) const ALL_MARKDOWN: usize = 12_000;
/// Blocks in a message.
pub(crate) const BLOCKS: usize = 50;
/// Blocks in a modal.
pub(crate) const VIEW_BLOCKS: usize = 100;
/// A section's text, and any text that has no limit of its own.
pub(crate) const TEXT: usize = 3_000;
/// A header's text.
pub(crate) const HEADER: usize = 150;
/// Elements of a context.
pub(crate) const CONTEXT_ELEMENTS: usize = 10;
/// Elements of an actions block.
pub(crate) const ACTIONS: usize = 25;
/// Fields of a section.
pub(crate) const FIELDS: usize = 10;
/// A field's text.
pub(crate) const FIELD: usize = 2_000;
/// A button's text.
pub(crate) const BUTTON: usize = 75;
/// An `action_id` or a `block_id`.
pub(crate) const ID: usize = 255;
/// A button's value.
pub(crate) const VALUE: usize = 2_000;
/// A link.
pub(crate) const LINK: usize = 3_000;
/// An image's description.
pub(crate) const ALT_TEXT: usize = 2_000;
/// A modal's title.
pub(crate) const TITLE: usize = 24;
/// A message's metadata, in bytes of JSON.
pub(crate) const METADATA_BYTES: usize = 8_000;
/// Messages in a page of history.
pub(crate) const PAGE: usize = 999;
/// Posts to one `response_url`.
pub(crate) const RESPONSES: u8 = 5;
/// How long a `response_url` is valid, in seconds.
pub(crate) const RESPONSE_SECS: u64 = 30 * 60;
/// How long a `trigger_id` is valid, in seconds.
pub(crate) const TRIGGER_SECS: u64 = 3;
/// The size of a request, in bytes; far more than Slack would accept.
pub(crate) const BODY_BYTES: usize = 1 << 20;
