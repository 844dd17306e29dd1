//! The encoding of text that a person types into Slack's mrkdwn: escaped, with ids for names.

use crate::workspace::Workspace;

/// Turns `@name`, `#channel` and links into Slack's mrkdwn, and escapes the rest.
pub(crate) fn encode(text: &str, workspace: &Workspace) -> String {
    text.split_inclusive(char::is_whitespace)
        .map(|word| encode_word(word, workspace))
        .collect()
}

/// Returns the mrkdwn that mentions a user.
pub(crate) fn mention(user_id: &str) -> String {
    format!("<@{user_id}>")
}

fn encode_word(word: &str, workspace: &Workspace) -> String {
    let name_end = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
    let split = |rest: &str| {
        let end = rest.find(name_end).unwrap_or(rest.len());
        (rest[..end].to_owned(), escape(&rest[end..]))
    };
    if let Some((name, rest)) = word.strip_prefix('@').map(split)
        && let Some(id) = user_id(&name, workspace)
    {
        return format!("{}{rest}", mention(id));
    }
    if let Some((name, rest)) = word.strip_prefix('#').map(split)
        && let Ok(channel) = workspace.channel(&format!("#{name}"))
    {
        return format!("<#{}|{name}>{rest}", channel.id);
    }
    if is_mention(word.trim_end(), workspace) {
        return word.to_owned();
    }
    if word.starts_with("http://") || word.starts_with("https://") {
        let link = word.trim_end();
        return format!("<{}>{}", escape(link), &word[link.len()..]);
    }
    escape(word)
}

/// Whether a word is a mention in Slack's mrkdwn already, as programs write it.
fn is_mention(word: &str, workspace: &Workspace) -> bool {
    let id = word
        .strip_prefix("<@")
        .and_then(|rest| rest.strip_suffix('>'));
    id.is_some_and(|id| id == workspace.config.bot.user_id || workspace.user(id).is_ok())
}

fn user_id<'a>(name: &str, workspace: &'a Workspace) -> Option<&'a str> {
    let bot = &workspace.config.bot;
    let users = workspace.users.iter().map(|user| (&user.name, &user.id));
    [(&bot.name, &bot.user_id)]
        .into_iter()
        .chain(users)
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map(|(_, id)| id.as_str())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn encoded(text: &str) -> String {
        encode(text, &Workspace::new(Config::new("secret", "token").into()))
    }

    #[test]
    fn names_become_ids_and_the_rest_is_escaped() {
        assert_eq!(
            encoded("@bematic, fix a<b & c"),
            "<@U0BEMATIC>, fix a&lt;b &amp; c"
        );
        assert_eq!(
            encoded("ask @ada in #random"),
            "ask <@U0ADA> in <#C0RANDOM|random>"
        );
        assert_eq!(encoded("<@U0BEMATIC> hi"), "<@U0BEMATIC> hi");
        assert_eq!(
            encoded("see https://a.example/?a=1&b=2\nok"),
            "see <https://a.example/?a=1&amp;b=2>\nok"
        );
    }

    #[test]
    fn unknown_names_stay_as_they_were_typed() {
        assert_eq!(
            encoded("@nobody #nowhere <@U404> <script>"),
            "@nobody #nowhere &lt;@U404&gt; &lt;script&gt;"
        );
    }
}
