//! Undoing Slack's escaping.

/// Returns the text that an operator wrote, from Slack's form of it. A link that Slack made by itself
/// becomes the text that was typed; a link with a label keeps both.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, special) = rest.split_at(at);
        out.push_str(&decode_entities(before));
        let (plain, used) = unescape_next_markup(special).unwrap_or_else(|| ("<".to_owned(), 1));
        out.push_str(&plain);
        rest = &special[used..];
    }
    out + &decode_entities(rest)
}

/// Returns the text that a `<…>` at the start of `text` stands for, and its length in bytes. `None`
/// if it is not Slack's markup: the text of a slash command may not be escaped at all.
fn unescape_next_markup(text: &str) -> Option<(String, usize)> {
    let inside = text.strip_prefix('<')?.split_once('>')?.0;
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inside, None),
    };
    if target.contains(['<', '\n', ' ']) {
        return None;
    }
    let plain = match target.chars().next()? {
        '@' if is_slack_id(&target[1..]) => {
            decode_and_prefix_name('@', label.unwrap_or(&target[1..]))
        }
        '#' if is_slack_id(&target[1..]) => {
            decode_and_prefix_name('#', label.unwrap_or(&target[1..]))
        }
        '!' => unescape_special(&target[1..], label),
        _ => unescape_link(target, label)?,
    };
    Some((plain, inside.len() + 2))
}

fn is_slack_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn decode_and_prefix_name(sign: char, name: &str) -> String {
    let name = decode_entities(name);
    format!("{sign}{}", name.strip_prefix(sign).unwrap_or(&name))
}

/// Returns the text of `<!here>`, `<!subteam^S1|@team>` or `<!date^…|fallback>`.
fn unescape_special(target: &str, label: Option<&str>) -> String {
    match label {
        Some(label) => decode_entities(label),
        None => decode_and_prefix_name('@', target.rsplit('^').next().unwrap_or(target)),
    }
}

fn unescape_link(target: &str, label: Option<&str>) -> Option<String> {
    let address = ["mailto:", "tel:"]
        .iter()
        .find_map(|scheme| target.strip_prefix(scheme))
        .or_else(|| target.split_once("://").map(|(_, address)| address))?;
    Some(match label {
        Some(label) if label == address || label == target => decode_entities(label),
        Some(label) => format!("{} ({})", decode_entities(label), decode_entities(target)),
        None => decode_entities(target),
    })
}

/// Replaces the entities by their characters: `&amp;` last, since it may precede `lt;`.
fn decode_entities(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}
