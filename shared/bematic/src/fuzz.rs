//! Fuzz targets of the pure modules: no input makes them panic, and what comes out keeps its
//! promises.

use bematic_fuzz::{Unstructured, fuzz, json_like, text};
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
    let read_command = |source: &mut Unstructured<'_>| {
        let count = source.int_in_range(0..=4)?;
        let parts = (0..count).map(|_| text(source, &words));
        Ok(parts.collect::<Result<Vec<_>, _>>()?.join(" "))
    };
    fuzz!(read_command, |written| {
        for parsed in [command::parse(written), command::parse_mention(written)] {
            if let Err(error) = parsed {
                // The answer repeats what was written, and must not notify anybody.
                let answer = texts::command_error(&error);
                assert!(!answer.contains("<!") && !answer.contains("<@"), "{answer}");
            }
        }
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
    let read_text = |source: &mut Unstructured<'_>| {
        let (cut, max): (bool, _) = (source.arbitrary()?, source.int_in_range(0_usize..=199)?);
        let count = source.int_in_range(0..=5)?;
        let parts = (0..count).map(|_| {
            let times = source.int_in_range(1..=39)?;
            Ok(text(source, &words)?.repeat(times))
        });
        Ok((parts.collect::<Result<String, _>>()?, cut, max))
    };
    fuzz!(read_text, |(text, cut, max)| {
        let (cut, max) = (*cut, *max);
        for rendered in [
            mrkdwn::render_tail(text, cut, max.max(10)),
            mrkdwn::render_head(text, max.max(10)),
            mrkdwn::escape_one_line(text, max.max(1)),
        ] {
            assert!(mrkdwn::utf16_len(&rendered) <= max.max(10));
            assert!(
                !rendered.contains("<!") && !rendered.contains("<@"),
                "{rendered}"
            );
            let is_hidden = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
            assert!(!rendered.contains(is_hidden), "{rendered:?}");
        }
    });
}

/// Errors about a request of Slack's are logged, and quote nothing of it.
#[test]
fn fuzz_slacks_requests() {
    let secret = "s3cret";
    let examples = [
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
    let read_body = |source: &mut Unstructured<'_>| json_like(source, &examples, &[secret; 8]);
    fuzz!(read_body, |body| {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("payload", body), ("channel_id", body), ("user_id", body)])
            .finish();
        for (endpoint, body) in [
            (Endpoint::Events, body),
            (Endpoint::Interactions, &form),
            (Endpoint::Commands, &form),
        ] {
            if let Err(error) = inbound::parse(endpoint, body.as_bytes()) {
                let logged = error.to_string();
                assert!(!logged.contains(secret), "{logged}");
                assert!(
                    logged.len() < 1000 && !logged.contains(char::is_control),
                    "{logged:?}"
                );
            }
        }
    });
}
