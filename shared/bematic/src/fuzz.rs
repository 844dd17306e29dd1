//! Fuzz targets of the pure modules: no input makes them panic, and what comes out keeps its
//! promises.

use bematic_fuzz::{fuzz, json_like, text};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    command,
    slack::{
        inbound::{self, Endpoint},
        mrkdwn, text as texts,
    },
};

#[test]
fn fuzz_the_command_parser() {
    let names = command::COMMANDS.iter().map(|entry| entry.name);
    let options = [
        "--agent",
        "--priority",
        "high",
        "--since",
        "7d",
        "all",
        "failed",
        "reset",
        "drain",
        "box",
        "0198c0de-0000-7000-8000-000000000001",
        "<@U1|ada>",
        "<@U1>",
        "admin",
        "&amp;",
        "&lt;",
    ];
    let words: Vec<_> = names.chain(options).collect();
    let command = proptest::collection::vec(text(&words), 0..5);
    fuzz(&command, |parts| {
        let written = parts.join(" ");
        for parsed in [command::parse(&written), command::parse_mention(&written)] {
            if let Err(error) = parsed {
                // The answer repeats what was written, and must not notify anybody.
                let answer = texts::command_error(&error);
                prop_assert!(!answer.contains("<!") && !answer.contains("<@"), "{answer}");
            }
        }
        Ok(())
    });
}

#[test]
fn fuzz_the_renderer() {
    let words = [
        "\n- ",
        "\n  - ",
        "\n1. ",
        "\n> ",
        "\n# ",
        "\n---\n",
        "|-|-|\n",
        "|a|b|\n",
        "\n```\n",
        "~~~\n",
        "- [ ] ",
        "<br>",
        "&amp;",
        "&#x202e;",
        "![",
        "[a]: u\n",
        "[a]",
        "    ",
        "\n\n",
        "mailto:a@b",
    ];
    let parts = proptest::collection::vec((text(&words), 1_usize..40), 0..6);
    fuzz(
        &(parts, any::<bool>(), 0_usize..200),
        |(parts, cut, max)| {
            let text: String = parts
                .iter()
                .map(|(part, times)| part.repeat(*times))
                .collect();
            for rendered in [
                mrkdwn::render_tail(&text, cut, max.max(10)),
                mrkdwn::render_head(&text, max.max(10)),
                mrkdwn::escape_one_line(&text, max.max(1)),
            ] {
                prop_assert!(mrkdwn::utf16_len(&rendered) <= max.max(10));
                prop_assert!(
                    !rendered.contains("<!") && !rendered.contains("<@"),
                    "{rendered}"
                );
                let is_hidden =
                    |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
                prop_assert!(!rendered.contains(is_hidden), "{rendered:?}");
            }
            Ok(())
        },
    );
}

/// Errors about a request of Slack's are logged, and quote nothing of it.
#[test]
fn fuzz_slacks_requests() {
    let secret = "s3cret";
    let examples = vec![
        json!({ "type": "event_callback", "event_id": "E", "team_id": "T1", "api_app_id": "A1",
            "event": { "type": "app_mention", "user": "U1", "channel": "C1", "text": secret,
            "ts": "1.2", "thread_ts": "1.2", "x": secret } }),
        json!({ "type": "url_verification", "challenge": secret }),
        json!({ "type": "block_actions", "user": { "id": "U1" }, "channel": { "id": "C1" },
            "actions": [{ "action_id": "cancel", "value": secret }], "trigger_id": secret }),
        // A secret in each of the fields whose values are checked.
        json!({ "type": "event_callback", "event_id": { (secret): secret },
            "event": { "type": "app_mention", "user": secret, "channel": [secret], "text": [secret] } }),
        json!({ "type": [secret], "event": secret, "actions": secret, "user": secret }),
        json!({ "type": "block_actions", "user": secret, "actions": [secret], "channel": secret }),
        json!([secret]),
        json!(secret),
    ];
    fuzz(&json_like(examples, &[secret; 8]), |body| {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("payload", &*body),
                ("channel_id", &body),
                ("user_id", &body),
            ])
            .finish();
        for (endpoint, body) in [
            (Endpoint::Events, &*body),
            (Endpoint::Interactions, &form),
            (Endpoint::Commands, &form),
        ] {
            if let Err(error) = inbound::parse(endpoint, body.as_bytes()) {
                let logged = error.to_string();
                prop_assert!(!logged.contains(secret), "{logged}");
                prop_assert!(
                    logged.len() < 1000 && !logged.contains(char::is_control),
                    "{logged:?}"
                );
            }
        }
        Ok(())
    });
}
