//! The Events API: what the app subscribed to, sent until it is taken.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::deliver::{self, Delivery, Failure, Reply};
use super::message::Content;
use super::place::{Place, note};
use super::state::Slack;
use super::ts::Ts;

const PATH: &str = "/slack/events";

/// Tells the app that it was mentioned. Gives what became of the first attempt; the others follow
/// in the background.
pub(super) async fn app_mention(
    slack: &Arc<Slack>,
    place: &Place,
    ts: Ts,
    thread: Option<Ts>,
    text: &str,
) -> Delivery {
    let mut event = json!({
        "type": "app_mention", "user": place.user, "text": text, "ts": ts,
        "team": slack.config.team.id, "channel": place.channel, "event_ts": ts,
    });
    if let Some(thread) = thread {
        event["thread_ts"] = json!(thread);
    }
    let body = envelope(slack, &event).to_string();
    let outcome = send(slack, &body, None).await;
    let delivery = Delivery::of(&outcome, |reply| reply.status);
    if let Err(failure) = outcome {
        let retrying = Retrying {
            note: None,
            place: place.clone(),
            thread,
            body,
        };
        slack.tasks.spawn(retry(slack.clone(), retrying, failure));
    }
    delivery
}

/// Proves to Slack that an address is the app's, as setting it in the app's settings does.
pub(super) async fn verify_url(slack: &Slack) -> Result<(), String> {
    let challenge = slack
        .workspace()
        .id("challenge", slack.config.clock.micros());
    let body = json!({ "token": "local", "challenge": challenge, "type": "url_verification" });
    let reply = send(slack, &body.to_string(), None)
        .await
        .map_err(|failure| failure.to_string())?;
    let text = String::from_utf8_lossy(&reply.body);
    let answer: Option<Value> = serde_json::from_str(&text).ok();
    let echoed = answer
        .as_ref()
        .and_then(|answer| answer["challenge"].as_str());
    if echoed.unwrap_or(text.trim()) == challenge {
        return Ok(());
    }
    Err("the webhook did not answer with the challenge".into())
}

fn envelope(slack: &Slack, event: &Value) -> Value {
    let clock = &slack.config.clock;
    let workspace = &mut slack.workspace();
    let event_id = workspace.id("Ev", clock.micros());
    let app = &workspace.app;
    json!({
        "token": "local", "team_id": app.team.id, "api_app_id": app.bot.app_id,
        "event": event, "type": "event_callback",
        "event_id": event_id, "event_time": clock.secs(),
        "authorizations": [{
            "enterprise_id": null, "team_id": app.team.id, "user_id": app.bot.user_id,
            "is_bot": true, "is_enterprise_install": false,
        }],
        "is_ext_shared_channel": false,
    })
}

async fn send(slack: &Slack, body: &str, retry: Option<(usize, &str)>) -> Result<Reply, Failure> {
    deliver::post(slack, PATH, deliver::JSON, body.to_owned(), retry).await
}

/// An event that was not taken.
struct Retrying {
    /// What the person is told, in one note that changes.
    note: Option<Ts>,
    place: Place,
    thread: Option<Ts>,
    body: String,
}

async fn retry(slack: Arc<Slack>, mut event: Retrying, mut failure: Failure) {
    let waits = slack.config.event_retries.clone();
    for (index, wait) in waits.iter().enumerate() {
        if failure.is_final() {
            break;
        }
        tell(&slack, &mut event, &failure, Some(*wait));
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            () = slack.stop.cancelled() => return,
        }
        let retry = Some((index + 1, failure.retry_reason()));
        match send(&slack, &event.body, retry).await {
            Ok(_) => return settle(&slack, &event),
            Err(again) => failure = again,
        }
    }
    tell(&slack, &mut event, &failure, None);
}

/// Says that the event was not taken, unless it is tried again at once.
fn tell(slack: &Slack, event: &mut Retrying, failure: &Failure, next: Option<Duration>) {
    let hope = match next {
        Some(Duration::ZERO) => return,
        Some(wait) => format!("trying again in {} s", wait.as_secs_f64()),
        None => "not trying again".to_owned(),
    };
    let text = format!(":warning: Bematic did not get this mention: {failure}; {hope}.");
    say(slack, event, &text);
}

fn settle(slack: &Slack, event: &Retrying) {
    if let Some(ts) = event.note {
        slack.workspace().remove(&event.place.channel, ts);
    }
}

fn say(slack: &Slack, event: &mut Retrying, text: &str) {
    let Some(ts) = event.note else {
        event.note = Some(note(slack, &event.place, event.thread, text));
        return;
    };
    let content = Content {
        text: text.to_owned(),
        ..Content::default()
    };
    let now = slack.config.clock.micros();
    slack
        .workspace()
        .rewrite(&event.place.channel, ts, content, now);
}
