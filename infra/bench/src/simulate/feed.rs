//! What Lambda does for a queue: receives what is due, invokes the function with it, up to so many
//! at a time, and puts back what the function could not do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use bematic::error::BematicError;
use bematic::handlers::sqs;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use super::cloud::Cloud;
use super::functions::Fed;
use super::lambda::Function;
use super::meter::{CAUSE, Cause};
use crate::aws::queues::Message;
use crate::aws::{Service, lock};

/// When what failed comes back: as the functions ask for, the first time.
const AGAIN: Duration = Duration::from_secs(2);
/// How long at most before the queue is looked at again.
const LOOK: Duration = Duration::from_mins(15);

/// A message with what it was sent for.
#[derive(Debug, Deserialize)]
struct Caused<M> {
    cause: Cause,
    message: M,
}

/// Groups of a FIFO queue of which a message is being handled: no other of theirs is received.
type Busy = Mutex<HashSet<String>>;

/// Feeds `function` as long as the simulation lasts.
pub(super) async fn feed<H, M, F>(
    cloud: Arc<Cloud>,
    function: Arc<Function<H>>,
    fed: Arc<Fed>,
    handle: impl Fn(Arc<H>, M) -> F + Clone + Send + Sync + 'static,
) where
    H: Send + Sync + 'static,
    M: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<(), BematicError>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(fed.source.concurrency));
    let busy = Arc::new(Busy::default());
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let sent = cloud.sent.notified();
        let messages = receive(&cloud, &fed, &busy);
        if messages.is_empty() {
            drop(permit);
            let next = next(&cloud, &fed, &busy);
            tokio::select! {
                () = sent => {}
                () = sleep_until(next) => {}
            }
            continue;
        }
        let (cloud, fed, busy) = (cloud.clone(), fed.clone(), busy.clone());
        let (function, handle) = (function.clone(), handle.clone());
        tokio::spawn(async move {
            invoke(&cloud, &function, &fed, &messages, handle).await;
            let mut busy = lock(&busy);
            for message in &messages {
                busy.remove(group(message));
            }
            drop(busy);
            drop(permit);
            // What waited for its group may be received now.
            cloud.sent.notify_waiters();
        });
    }
}

fn group(message: &Message) -> &str {
    message.group.as_deref().unwrap_or_default()
}

fn is_free(message: &Message, busy: &HashSet<String>) -> bool {
    message.once.is_none() || !busy.contains(group(message))
}

/// What is due, as much as one invocation takes.
fn receive(cloud: &Cloud, fed: &Fed, busy: &Busy) -> Vec<Message> {
    let (mut state, mut busy) = (cloud.state(), lock(busy));
    let now = Instant::now();
    let taken: HashSet<String> = busy.clone();
    let mut messages = Vec::new();
    while messages.len() < fed.source.batch {
        let free = |message: &Message| is_free(message, &taken);
        let Some(message) = state.queues.receive(&fed.source.queue, Some(now), free) else {
            break;
        };
        if message.once.is_some() {
            busy.insert(group(&message).to_owned());
        }
        messages.push(message);
    }
    messages
}

/// When the next message can be received, if none is sent before.
fn next(cloud: &Cloud, fed: &Fed, busy: &Busy) -> Instant {
    let (state, busy) = (cloud.state(), lock(busy));
    let mut waiting = state.queues.waiting(&fed.source.queue);
    let next = waiting.find(|message| is_free(message, &busy));
    next.map_or(Instant::now() + LOOK, |message| message.due)
}

async fn invoke<H, M, F>(
    cloud: &Cloud,
    function: &Function<H>,
    fed: &Fed,
    messages: &[Message],
    handle: impl Fn(Arc<H>, M) -> F,
) where
    M: DeserializeOwned,
    F: Future<Output = Result<(), BematicError>>,
{
    let causes: Vec<_> = messages.iter().map(|it| cloud.sent_for(&it.id)).collect();
    let receipt = cloud.meter().prices.latency(Service::Sqs);
    sleep(receipt).await;
    let event = event(messages, &causes);
    let work = |handler: Arc<H>| async move {
        let handle =
            |caused: Caused<M>| CAUSE.scope(caused.cause, handle(handler.clone(), caused.message));
        sqs::each(event, &fed.queue, handle).await
    };
    let response: SqsBatchResponse = function.invoke(cloud, &causes, work).await;
    for (message, cause) in messages.iter().zip(&causes) {
        let fifo = message.once.is_some();
        cloud.meter().received(*cause, fifo, messages.len());
        let mut failures = response.batch_item_failures.iter();
        if failures.any(|failure| failure.item_identifier == message.id) {
            give_back(cloud, fed, message, *cause);
        }
    }
}

fn give_back(cloud: &Cloud, fed: &Fed, message: &Message, cause: Cause) {
    let again = Message {
        due: Instant::now() + AGAIN,
        ..message.clone()
    };
    cloud.given_back(&message.id, cause);
    let mut state = cloud.state();
    state.queues.give_back(&fed.source.queue, again);
}

fn event(messages: &[Message], causes: &[Cause]) -> SqsEvent {
    let records = messages.iter().zip(causes).map(|(message, cause)| {
        let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
        let body = serde_json::json!({ "cause": cause, "message": body });
        let mut record = SqsMessage::default();
        record.message_id = Some(message.id.clone());
        record.receipt_handle = Some(message.id.clone());
        record.body = Some(body.to_string());
        let attribute =
            |name: &str, value: &Option<String>| Some((name.to_owned(), value.clone()?));
        record.attributes = [
            attribute("MessageGroupId", &message.group),
            attribute("MessageDeduplicationId", &message.once),
            attribute("ApproximateReceiveCount", &Some("1".to_owned())),
        ]
        .into_iter()
        .flatten()
        .collect();
        record
    });
    let mut event = SqsEvent::default();
    event.records = records.collect();
    event
}
