//! Markdown, as agents write it, in the form that Slack renders.
//!
//! Whatever comes in, nothing that comes out can notify anyone: `&`, `<` and `>` are escaped, and
//! the only `<…>` written here are links to the web and to mail.

mod convert;
mod fence;
mod fit;
mod plain;
mod table;
mod writer;

pub use self::{
    convert::from_markdown,
    fit::{head, tail},
    plain::{clean, escape, line, shorten, size},
};

#[cfg(test)]
mod tests;
