//! The queues: messages with their delays, and first in first out once in 5 min under a name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::template::QueueSpec;

/// How long a FIFO queue knows a message by its name.
const KNOWN: Duration = Duration::from_mins(5);

/// A message that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// SQS's id of it.
    pub id: String,
    /// What it says.
    pub body: String,
    /// What it is in order with.
    pub group: Option<String>,
    /// What it is sent once as.
    pub once: Option<String>,
    /// When it can be received.
    pub due: Instant,
    /// Whether its sender asked for a delay, beyond that of the queue.
    pub timer: bool,
}

/// One queue.
#[derive(Debug)]
struct Queue {
    spec: QueueSpec,
    messages: Vec<Message>,
    known: BTreeMap<String, Instant>,
}

/// All queues.
#[derive(Debug)]
pub struct Queues {
    queues: BTreeMap<String, Queue>,
    sent: u64,
}

impl Queues {
    /// Empty ones.
    pub fn new(specs: Vec<QueueSpec>) -> Self {
        let queue = |spec: QueueSpec| Queue {
            spec,
            messages: Vec::new(),
            known: BTreeMap::new(),
        };
        Self {
            queues: specs
                .into_iter()
                .map(|spec| (spec.id.clone(), queue(spec)))
                .collect(),
            sent: 0,
        }
    }

    /// What waits in a queue.
    pub fn waiting(&self, id: &str) -> &[Message] {
        self.queues.get(id).map_or(&[], |queue| &queue.messages)
    }

    /// The first message that can be received, taken out.
    pub fn receive(&mut self, id: &str, can: impl Fn(&Message) -> bool) -> Option<Message> {
        let queue = self.queues.get_mut(id)?;
        let first = queue.messages.iter().position(can)?;
        Some(queue.messages.remove(first))
    }

    /// Whether the queue is first in first out.
    pub(super) fn is_fifo(&self, request: &Value) -> bool {
        let queue = id(request).and_then(|id| self.queues.get(id));
        queue.is_some_and(|queue| queue.spec.fifo)
    }

    /// Answers a call; a fault is a sentence.
    pub(super) fn call(
        &mut self,
        operation: &str,
        request: &Value,
        now: Instant,
    ) -> Result<Value, String> {
        match operation {
            "SendMessage" => self.send(request, request, now),
            "SendMessageBatch" => {
                let entries = request["Entries"].as_array().into_iter().flatten();
                let sent = entries
                    .map(|entry| {
                        let mut sent = self.send(request, entry, now)?;
                        sent["Id"] = entry["Id"].clone();
                        Ok(sent)
                    })
                    .collect::<Result<Vec<_>, String>>()?;
                Ok(json!({ "Successful": sent, "Failed": [] }))
            }
            "ChangeMessageVisibility" | "DeleteMessage" => Ok(json!({})),
            _ => Err(format!("SQS.{operation} is not known here")),
        }
    }

    fn send(&mut self, request: &Value, message: &Value, now: Instant) -> Result<Value, String> {
        let queue = id(request).and_then(|id| self.queues.get_mut(id));
        let Some(queue) = queue else {
            return Err(format!("there is no queue {}", request["QueueUrl"]));
        };
        self.sent += 1;
        let text = |name: &str| message[name].as_str().map(ToOwned::to_owned);
        let id = format!("m-{}", self.sent);
        let answer = json!({ "MessageId": id, "MD5OfMessageBody": "0".repeat(32) });
        let once = text("MessageDeduplicationId");
        if queue.spec.fifo {
            let Some(once) = &once else {
                return Err("a message of a FIFO queue has a MessageDeduplicationId".into());
            };
            queue.known.retain(|_, at| now.duration_since(*at) < KNOWN);
            if queue.known.contains_key(once) {
                return Ok(answer);
            }
            queue.known.insert(once.clone(), now);
        }
        let delay = message["DelaySeconds"].as_u64().map(Duration::from_secs);
        queue.messages.push(Message {
            id,
            body: text("MessageBody").unwrap_or_default(),
            group: text("MessageGroupId"),
            once,
            due: now + delay.unwrap_or(queue.spec.delay),
            timer: delay.is_some_and(|delay| !delay.is_zero()),
        });
        Ok(answer)
    }
}

fn id(request: &Value) -> Option<&str> {
    request["QueueUrl"].as_str()?.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues() -> Queues {
        let spec = |id: &str, fifo, delay| QueueSpec {
            id: id.into(),
            fifo,
            delay: Duration::from_secs(delay),
        };
        Queues::new(vec![spec("work", false, 0), spec("news", true, 3)])
    }

    fn send(queues: &mut Queues, queue: &str, once: &str, now: Instant) -> Result<Value, String> {
        let request = json!({
            "QueueUrl": format!("http://x/0/{queue}"), "MessageBody": "{}",
            "MessageGroupId": "g", "MessageDeduplicationId": once,
        });
        queues.call("SendMessage", &request, now)
    }

    #[test]
    fn a_message_waits_as_long_as_its_queue_says() {
        let (mut queues, now) = (queues(), Instant::now());
        send(&mut queues, "news", "a", now).unwrap();
        let due = |at: Instant| move |message: &Message| message.due <= at;
        assert!(queues.receive("news", due(now)).is_none());
        let later = now + Duration::from_secs(3);
        assert!(queues.receive("news", due(later)).is_some());
        assert!(queues.receive("news", due(later)).is_none(), "taken out");
    }

    #[test]
    fn a_name_counts_once_in_five_minutes_where_order_counts() {
        let (mut queues, now) = (queues(), Instant::now());
        for queue in ["news", "work"] {
            send(&mut queues, queue, "a", now).unwrap();
            send(&mut queues, queue, "a", now + Duration::from_secs(299)).unwrap();
        }
        assert_eq!(
            (queues.waiting("news").len(), queues.waiting("work").len()),
            (1, 2)
        );
        send(&mut queues, "news", "a", now + KNOWN).unwrap();
        assert_eq!(queues.waiting("news").len(), 2);
    }

    #[test]
    fn what_is_not_known_is_a_fault() {
        let (mut queues, now) = (queues(), Instant::now());
        assert!(send(&mut queues, "other", "a", now).is_err());
        let request = json!({ "QueueUrl": "http://x/0/news" });
        assert!(queues.call("PurgeQueue", &request, now).is_err());
        assert!(
            queues.call("SendMessage", &request, now).is_err(),
            "without a name"
        );
    }
}
