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
    fit::{head, tail},
    plain::{clean, escape, line, size},
};

#[cfg(test)]
mod tests;
