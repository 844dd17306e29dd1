//! Converts Markdown to Slack's mrkdwn. No input can notify anyone: the only `<…>` that are written
//! are links to the web and to mail addresses.
//!
//! Text of agents and people becomes mrkdwn by [`escape`] and its variants, or as Markdown by
//! [`render_head`] and [`render_tail`], and in no other way. Both remove what is not seen: see
//! [`invisible`].

mod convert;
mod fence;
mod fit;
mod invisible;
mod nesting;
mod plain;
mod table;
mod writer;

pub(crate) use self::{
    convert::from_markdown,
    fit::{render_head, render_tail},
    plain::{clean_terminal_text, escape, escape_one_line, utf16_len},
};

#[cfg(test)]
mod tests;
