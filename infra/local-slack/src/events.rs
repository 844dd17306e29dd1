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
    place: Place,
    ts: Ts,
    thread: Option<Ts>,
    text: &str,
) -> Delivery {
    let event_id = slack.workspace().id("Ev");
    let (ts, thread_ts) = (ts.to_string(), thread.map(|ts| ts.to_string()));
    let Config { team, bot, .. } = &*slack.config;
    let mention = Mention {
        team_id: &team.id,
        app_id: &bot.app_id,
        bot_user_id: &bot.user_id,
        thread_ts: thread_ts.as_deref(),
        ..Mention::new(&place.channel.id, &place.user.id, text, &ts, &event_id)
    };
    let body = mention.body(slack.config.clock.secs()).to_string();
    let outcome = send(slack, &body, None).await;
    let delivery = Delivery::from(&outcome);
    if let Err(failure) = outcome {
        let retrying = retry(slack.clone(), place, thread, body, failure);
        slack.tasks.spawn(retrying);
    }
    delivery
}

/// Sends a `url_verification`, which an app must answer with the challenge, as Slack does when the
/// address is set in the app's settings.
pub(crate) async fn verify_url(slack: &Slack) -> Result<(), String> {
    let challenge = slack.workspace().id("challenge");
    let body = json!({ "token": "local", "challenge": challenge, "type": "url_verification" });
    let reply = send(slack, &body.to_string(), None).await;
    let reply = reply.map_err(|failure| failure.to_string())?;
    let text = String::from_utf8_lossy(&reply.body);
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if answer["challenge"].as_str().unwrap_or(text.trim()) == challenge {
        return Ok(());
    }
    Err("the webhook did not answer with the challenge".into())
}

async fn send(slack: &Slack, body: &str, retry: Option<(usize, &str)>) -> Result<Reply, Failure> {
    deliver::post(slack, slack.sign(EVENTS, JSON, body.to_owned()), retry).await
}

/// Sends an event again that the app did not accept. The person sees one note about the failure,
/// which is updated, and removed in the end if the app accepts the event.
async fn retry(
    slack: Arc<Slack>,
    place: Place,
    thread: Option<Ts>,
    body: String,
    mut failure: Failure,
) {
    let channel = &place.channel.id;
    let mut note = None;
    let mut report = |failure: &Failure, outlook: &str| {
        let text = format!(":warning: Bematic did not receive this mention: {failure}; {outlook}.");
        let mut workspace = slack.workspace();
        match note {
            None => note = Some(workspace.post_note(&place, thread, &text)),
            Some(ts) => workspace.rewrite(channel, ts, Content::plain(&text)),
        }
        note
    };
    let mut shown = None;
    for (index, wait) in slack.config.event_retries.iter().enumerate() {
        if failure.is_final() {
            break;
        }
        if *wait > Duration::ZERO {
            let outlook = format!("trying again in {} s", wait.as_secs_f64());
            shown = report(&failure, &outlook);
        }
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            () = slack.stop.cancelled() => return,
        }
        let retry = Some((index + 1, failure.retry_reason()));
        let Err(again) = send(&slack, &body, retry).await else {
            if let Some(ts) = shown {
                slack.workspace().remove(channel, ts);
            }
            return;
        };
        failure = again;
    }
    report(&failure, "not trying again");
}
