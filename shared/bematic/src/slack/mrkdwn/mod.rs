//! Converts Markdown to Slack's mrkdwn. No input can notify anyone: the only `<…>` that are written
//! are links to the web and to mail addresses.

mod convert;
mod fence;
mod fit;
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
