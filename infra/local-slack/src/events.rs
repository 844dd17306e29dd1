//! The Events API: events, sent again until the app accepts them or the retries are used up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::deliver::{self, DeliveryOutcome, Failure};
use crate::message::Content;
use crate::request::{EVENTS_PATH, Mention};
use crate::state::Slack;
use crate::ts::Ts;
use crate::workspace::UserInChannel;

/// Sends the app a mention. Returns the outcome of the first delivery; retries follow in the
/// background.
pub(crate) async fn send_app_mention(
    slack: &Arc<Slack>,
    actor: UserInChannel,
    ts: Ts,
    thread: Option<Ts>,
    text: &str,
) -> DeliveryOutcome {
    let event_id = slack.workspace().next_unique_id("Ev");
    let (ts, thread_ts) = (ts.to_string(), thread.map(|ts| ts.to_string()));
    let mut mention = Mention::new(&actor.channel.id, &actor.user.id, text, &ts, &event_id);
    mention.thread_ts = thread_ts.as_deref();
    let body = mention.body(slack.config.clock.secs()).to_string();
    let outcome = deliver::post_to_webhook(slack, EVENTS_PATH, body.clone(), None).await;
    let delivery = DeliveryOutcome::from(&outcome);
    if let Err(failure) = outcome {
        let retrying = retry(slack.clone(), actor, thread, body, failure);
        slack.tasks.spawn(retrying);
    }
    delivery
}

/// Sends a `url_verification`, which an app must answer with the challenge, as Slack does when the
/// address is set in the app's settings.
pub(crate) async fn verify_url(slack: &Slack) -> Result<(), String> {
    let challenge = slack.workspace().next_unique_id("challenge");
    let body = json!({ "token": "local", "challenge": challenge, "type": "url_verification" });
    let reply = deliver::post_to_webhook(slack, EVENTS_PATH, body.to_string(), None).await;
    let reply = reply.map_err(|failure| failure.to_string())?;
    let text = String::from_utf8_lossy(&reply.body);
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if answer["challenge"].as_str().unwrap_or(text.trim()) == challenge {
        return Ok(());
    }
    Err("the webhook did not answer with the challenge".into())
}

/// Sends an event again that the app did not accept. The person sees one note about the failure,
/// which is updated, and removed in the end if the app accepts the event.
async fn retry(
    slack: Arc<Slack>,
    actor: UserInChannel,
    thread: Option<Ts>,
    body: String,
    mut failure: Failure,
) {
    let channel = &actor.channel.id;
    let mut note = None;
    let mut report = |failure: &Failure, outlook: &str| {
        let text = format!(":warning: Bematic did not receive this mention: {failure}; {outlook}.");
        let mut workspace = slack.workspace();
        match note {
            None => note = Some(workspace.post_note(&actor, thread, &text)),
            Some(ts) => workspace.replace_content(channel, ts, Content::plain(&text)),
        }
        note
    };
    let mut shown = None;
    for (number, wait) in (1..).zip(&slack.config.event_retries) {
        if matches!(failure, Failure::Status { no_retry: true, .. }) {
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
        let retry = Some((number, (&failure).into()));
        let Err(again) = deliver::post_to_webhook(&slack, EVENTS_PATH, body.clone(), retry).await
        else {
            if let Some(ts) = shown {
                slack.workspace().remove(channel, ts);
            }
            return;
        };
        failure = again;
    }
    report(&failure, "not trying again");
}
