//! The Events API: events, sent again until the app accepts them or the retries are used up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Config;
use crate::deliver::{self, Delivery, Failure, Reply};
use crate::message::Content;
use crate::place::Place;
use crate::request::{EVENTS, JSON, Mention};
use crate::state::Slack;
use crate::ts::Ts;

/// Sends the app a mention. Returns the outcome of the first delivery; retries follow in the
/// background.
pub(crate) async fn app_mention(
    slack: &Arc<Slack>,
    place: &Place,
    ts: Ts,
    thread: Option<Ts>,
    text: &str,
) -> Delivery {
    let event_id = slack.workspace().id("Ev", slack.now());
    let (ts, thread_ts) = (ts.to_string(), thread.map(|ts| ts.to_string()));
    let Config { team, bot, .. } = &slack.config;
    let mention = Mention {
        team_id: &team.id,
        app_id: &bot.app_id,
        bot_user_id: &bot.user_id,
        thread_ts: thread_ts.as_deref(),
        ..Mention::new(&place.channel, &place.user, text, &ts, &event_id)
    };
    let body = mention.body(slack.config.clock.secs()).to_string();
    let outcome = send(slack, &body, None).await;
    let delivery = Delivery::from(&outcome);
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

/// Sends a `url_verification`, which an app must answer with the challenge, as Slack does when the
/// address is set in the app's settings.
pub(crate) async fn verify_url(slack: &Slack) -> Result<(), String> {
    let challenge = slack.workspace().id("challenge", slack.now());
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

async fn send(slack: &Slack, body: &str, retry: Option<(usize, &str)>) -> Result<Reply, Failure> {
    deliver::post(slack, slack.sign(EVENTS, JSON, body.to_owned()), retry).await
}

/// An event that the app did not accept.
struct Retrying {
    /// The note about the failure that the person sees; it is updated.
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
        report(&slack, &mut event, &failure, Some(*wait));
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            () = slack.stop.cancelled() => return,
        }
        let retry = Some((index + 1, failure.retry_reason()));
        match send(&slack, &event.body, retry).await {
            Ok(_) => return remove_note(&slack, &event),
            Err(again) => failure = again,
        }
    }
    report(&slack, &mut event, &failure, None);
}

/// Shows the person a note about the failure, unless the event is sent again at once.
fn report(slack: &Slack, event: &mut Retrying, failure: &Failure, next: Option<Duration>) {
    let outlook = match next {
        Some(Duration::ZERO) => return,
        Some(wait) => format!("trying again in {} s", wait.as_secs_f64()),
        None => "not trying again".to_owned(),
    };
    let text = format!(":warning: Bematic did not receive this mention: {failure}; {outlook}.");
    let Some(ts) = event.note else {
        event.note = Some(event.place.note(slack, event.thread, &text));
        return;
    };
    let (channel, content) = (&event.place.channel, Content::plain(&text));
    slack.workspace().rewrite(channel, ts, content, slack.now());
}

/// Removes the note about the failure.
fn remove_note(slack: &Slack, event: &Retrying) {
    if let Some(ts) = event.note {
        slack.workspace().remove(&event.place.channel, ts);
    }
}
