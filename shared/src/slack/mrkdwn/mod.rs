//! Markdown, as agents write it, in the form that Slack renders.
//!
//! Whatever comes in, nothing that comes out can notify anyone: `&`, `<` and `>` are escaped, and
//! the only `<…>` written here are links.

/// Plain text for mrkdwn, with the three characters escaped that Slack gives a meaning.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}
