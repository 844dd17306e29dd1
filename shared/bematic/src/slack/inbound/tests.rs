use proptest::prelude::*;
use serde_json::json;
use url::form_urlencoded::Serializer;

use super::*;

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish().into_bytes()
}

const COMMAND: [(&str, &str); 9] = [
    ("token", "deprecated"),
    ("team_id", "T1"),
    ("channel_id", "C1"),
    ("channel_name", "general"),
    ("user_id", "U1"),
    ("command", "/bm"),
    ("text", "run fix the bug &amp; test\nit 🦀"),
    ("response_url", "https://hooks.slack.com/commands/1"),
    ("trigger_id", "13345224609.738474920.8088930838d88f008e0"),
];

fn mention() -> serde_json::Value {
    json!({
        "token": "deprecated", "team_id": "T1", "api_app_id": "A1", "type": "event_callback",
        "event_id": "Ev1", "event_time": 1_515_449_522, "authorizations": [{ "user_id": "UBOT" }],
        "event": {
            "type": "app_mention", "user": "U1", "text": "<@UBOT> hi", "ts": "1515449522.000016",
            "channel": "C1", "event_ts": "1515449522.000016", "blocks": [{ "type": "rich_text" }]
        }
    })
}

/// Parses a request, of whatever installation.
fn parse(endpoint: Endpoint, body: &[u8]) -> Result<Inbound, InboundError> {
    super::parse(endpoint, body).map(|request| request.inbound)
}

fn events(body: &serde_json::Value) -> Result<Inbound, InboundError> {
    parse(Endpoint::Events, body.to_string().as_bytes())
}

fn interactions(payload: &serde_json::Value) -> Result<Inbound, InboundError> {
    let body = form(&[("payload", &payload.to_string())]);
    parse(Endpoint::Interactions, &body)
}

#[test]
fn a_slash_command_is_read_to_the_letter() {
    let parsed = parse(Endpoint::Commands, &form(&COMMAND)).unwrap();
    assert_eq!(
        parsed,
        Inbound::Command(SlashCommand {
            channel_id: "C1".parse().unwrap(),
            user_id: "U1".parse().unwrap(),
            text: "run fix the bug &amp; test\nit 🦀".into(),
            trigger_id: "13345224609.738474920.8088930838d88f008e0".into(),
        })
    );
}

#[test]
fn a_slash_command_without_what_it_needs_is_refused_by_name() {
    for missing in ["channel_id", "user_id", "trigger_id"] {
        let others = COMMAND.into_iter().filter(|(name, _)| *name != missing);
        let fields: Vec<_> = others.clone().collect();
        let empty: Vec<_> = others.chain([(missing, "")]).collect();
        for fields in [fields, empty] {
            let error = parse(Endpoint::Commands, &form(&fields)).unwrap_err();
            assert_eq!(error.code(), "SLACK_FIELD_MISSING");
            assert_eq!(error.to_string(), format!("the request has no {missing}"));
        }
    }
    let mut fields = COMMAND;
    fields[2].1 = "not a channel";
    let error = parse(Endpoint::Commands, &form(&fields)).unwrap_err();
    assert_eq!(error.code(), "SLACK_FIELD_INVALID");
}

#[test]
fn slacks_look_at_the_certificate_is_ignored() {
    let body = form(&[("ssl_check", "1"), ("token", "x")]);
    assert!(matches!(
        parse(Endpoint::Commands, &body),
        Ok(Inbound::Ignored { .. })
    ));
}

#[test]
fn a_challenge_is_read() {
    let body = json!({ "type": "url_verification", "token": "x", "challenge": "3eZbrw1aB" });
    assert_eq!(
        events(&body).unwrap(),
        Inbound::UrlVerification {
            challenge: "3eZbrw1aB".into()
        }
    );
}

#[test]
fn a_mention_is_read_in_and_out_of_a_thread() {
    let mut body = mention();
    let Ok(Inbound::Mention(outside)) = events(&body) else {
        panic!("no mention");
    };
    assert_eq!(
        (outside.event_id.as_str(), outside.text.as_str()),
        ("Ev1", "<@UBOT> hi")
    );
    assert_eq!(outside.thread_ts, None);

    body["event"]["thread_ts"] = json!("1515449500.000001");
    let Ok(Inbound::Mention(inside)) = events(&body) else {
        panic!("no mention");
    };
    assert_eq!(inside.thread_ts, "1515449500.000001".parse().ok());
    assert_eq!(inside.ts, outside.ts);
}

#[test]
fn bots_and_other_events_are_ignored_whatever_they_look_like() {
    let mut by_bot = mention();
    by_bot["event"]["bot_id"] = json!("B1");
    let mut by_bot_without_user = by_bot.clone();
    by_bot_without_user["event"]["user"] = json!(null);
    let mut other = mention();
    other["event"] = json!({ "type": "reaction_added", "user": { "odd": true } });
    let limited = json!({ "type": "app_rate_limited", "minute_rate_limited": 1 });
    for body in [by_bot, by_bot_without_user, other, limited] {
        assert!(matches!(events(&body), Ok(Inbound::Ignored { .. })));
    }
}

#[test]
fn a_mention_that_cannot_be_answered_is_an_error() {
    let mut body = mention();
    body["event"]["channel"] = json!(17);
    assert_eq!(events(&body).unwrap_err().code(), "SLACK_FIELD_INVALID");
    body = mention();
    body["event_id"] = json!(null);
    assert_eq!(events(&body).unwrap_err().code(), "SLACK_FIELD_MISSING");
    let not_json = parse(Endpoint::Events, b"{").unwrap_err();
    assert_eq!(not_json.code(), "SLACK_BODY_INVALID");
}

#[test]
fn a_button_is_read() {
    let payload = json!({
        "type": "block_actions", "team": { "id": "T1", "domain": "x" },
        "user": { "id": "U1", "username": "ada", "team_id": "T1" },
        "channel": { "id": "C1", "name": "general" },
        "container": { "type": "message", "message_ts": "1.5", "channel_id": "C1" },
        "message": { "type": "message", "ts": "1.5", "blocks": [] },
        "trigger_id": "1.2.3", "response_url": "https://hooks.slack.com/actions/1",
        "actions": [{ "type": "button", "action_id": "retry", "value": "task", "block_id": "b" }]
    });
    assert_eq!(
        interactions(&payload).unwrap(),
        Inbound::Action(ButtonPress {
            action_id: "retry".into(),
            value: Some("task".into()),
            user_id: "U1".parse().unwrap(),
            channel_id: "C1".parse().ok(),
            trigger_id: "1.2.3".into(),
            user_team_id: Some("T1".into()),
        })
    );
}

#[test]
fn other_interactions_are_ignored_and_broken_ones_refused() {
    assert!(matches!(
        interactions(&json!({ "type": "view_closed" })),
        Ok(Inbound::Ignored { .. })
    ));
    let no_button = json!({
        "type": "block_actions", "user": { "id": "U1" }, "team": { "id": "T1" },
        "trigger_id": "1", "actions": []
    });
    let error = interactions(&no_button).unwrap_err().to_string();
    assert!(error.contains("actions"), "{error}");
    let bodies: [&[u8]; 3] = [b"", b"payload=", b"payload={}"];
    for body in bodies {
        assert!(parse(Endpoint::Interactions, body).is_err());
    }
}

/// JSON that a strict parser refuses: half an emoji, a number out of range, and deep nesting.
fn odd_values() -> [String; 3] {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    [r#""x\ud83d""#.into(), "1e999".into(), deep]
}

#[test]
fn a_field_that_is_not_used_may_hold_anything() {
    for odd in odd_values() {
        let button = format!(
            r#"{{"type":"block_actions","user":{{"id":"U1","username":{odd}}},"channel":{{"id":"C1"}},
            "message":{{"ts":"1.5","text":{odd}}},"actions":[{{"action_id":"retry","block_id":{odd}}}]}}"#
        );
        let body = form(&[("payload", &button)]);
        assert!(
            matches!(parse(Endpoint::Interactions, &body), Ok(Inbound::Action(_))),
            "{odd}"
        );
        let mention = mention().to_string();
        let mention = mention.replacen('{', &format!(r#"{{"later":{odd},"#), 1);
        let files = format!(r#""event":{{"files":{odd},"#);
        let mention = mention.replacen(r#""event":{"#, &files, 1);
        assert!(mention.contains(&files));
        let mentioned = parse(Endpoint::Events, mention.as_bytes());
        assert!(matches!(mentioned, Ok(Inbound::Mention(_))), "{odd}");
        let check = format!(r#"{{"type":"url_verification","challenge":"c","token":{odd}}}"#);
        assert!(parse(Endpoint::Events, check.as_bytes()).is_ok(), "{odd}");
    }
}

#[test]
fn an_empty_mention_is_read_and_an_empty_type_ignored() {
    let mut body = mention();
    body["event"]["text"] = json!("");
    assert!(matches!(events(&body), Ok(Inbound::Mention(mention)) if mention.text.is_empty()));
    body["event"]["type"] = json!("");
    assert!(matches!(events(&body), Ok(Inbound::Ignored { .. })));
    for kind in [events, interactions] {
        let ignored = kind(&json!({ "type": "" }));
        assert!(
            matches!(ignored, Ok(Inbound::Ignored { .. })),
            "{ignored:?}"
        );
    }
}

#[test]
fn a_button_of_a_channel_that_makes_no_sense_is_refused() {
    let press = |channel: serde_json::Value| {
        interactions(&json!({
            "type": "block_actions", "user": { "id": "U1" }, "channel": channel,
            "actions": [{ "action_id": "retry", "value": "task" }]
        }))
    };
    for channel in [
        json!({}),
        json!({ "id": null }),
        json!({ "id": "" }),
        json!(17),
        json!("x"),
    ] {
        assert_eq!(
            press(channel.clone()).unwrap_err().code(),
            "SLACK_BODY_INVALID",
            "{channel}"
        );
    }
    let without = press(json!(null)).unwrap();
    assert!(matches!(
        without,
        Inbound::Action(ButtonPress {
            channel_id: None,
            ..
        })
    ));
}

proptest! {
    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for endpoint in [Endpoint::Commands, Endpoint::Events, Endpoint::Interactions] {
            let _ = parse(endpoint, &body);
        }
    }
}

#[test]
fn an_id_that_sqs_would_not_take_is_refused() {
    for id in ["x".repeat(101), "a b".to_owned(), "é".to_owned()] {
        let event = json!({ "type": "event_callback", "event_id": id, "event": { "type": "app_mention",
            "user": "U1", "channel": "C1", "text": "x", "ts": "1.2" } });
        let parsed = parse(Endpoint::Events, event.to_string().as_bytes());
        assert_eq!(parsed.unwrap_err().code(), "SLACK_FIELD_INVALID", "{id}");
    }
}
