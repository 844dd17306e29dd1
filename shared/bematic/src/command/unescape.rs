//! Undoing Slack's escaping.

/// Returns the text that an operator wrote, from Slack's form of it. A link that Slack made by itself
/// becomes the text that was typed; a link with a label keeps both.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, special) = rest.split_at(at);
        out.push_str(&entities(before));
        let (plain, used) = markup(special).unwrap_or_else(|| ("<".to_owned(), 1));
        out.push_str(&plain);
        rest = &special[used..];
    }
    out + &entities(rest)
}

/// Returns the text that a `<…>` at the start of `text` stands for, and its length in bytes. `None`
/// if it is not Slack's markup: the text of a slash command may not be escaped at all.
fn markup(text: &str) -> Option<(String, usize)> {
    let inside = text.strip_prefix('<')?.split_once('>')?.0;
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inside, None),
    };
    if target.contains(['<', '\n', ' ']) {
        return None;
    }
    let plain = match target.chars().next()? {
        '@' if is_id(&target[1..]) => named('@', label.unwrap_or(&target[1..])),
        '#' if is_id(&target[1..]) => named('#', label.unwrap_or(&target[1..])),
        '!' => special(&target[1..], label),
        _ => link(target, label)?,
    };
    Some((plain, inside.len() + 2))
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn named(sign: char, name: &str) -> String {
    let name = entities(name);
    format!("{sign}{}", name.strip_prefix(sign).unwrap_or(&name))
}

/// Returns the text of `<!here>`, `<!subteam^S1|@team>` or `<!date^…|fallback>`.
fn special(target: &str, label: Option<&str>) -> String {
    match label {
        Some(label) => entities(label),
        None => named('@', target.rsplit('^').next().unwrap_or(target)),
    }
}

fn link(target: &str, label: Option<&str>) -> Option<String> {
    let address = ["mailto:", "tel:"]
        .iter()
        .find_map(|scheme| target.strip_prefix(scheme))
        .or_else(|| target.split_once("://").map(|(_, address)| address))?;
    Some(match label {
        Some(label) if label == address || label == target => entities(label),
        Some(label) => format!("{} ({})", entities(label), entities(target)),
        None => entities(target),
    })
}

/// Replaces the entities by their characters: `&amp;` last, since it may precede `lt;`.
fn entities(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}
