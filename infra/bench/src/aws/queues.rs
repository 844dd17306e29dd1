//! The queues: messages with their delays, and first in first out once in 5 min under a name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
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
    /// By when they can be received, and in the order in which they were sent.
    messages: BTreeMap<(Instant, u64), Message>,
    known: BTreeSet<String>,
    /// The same with the time since when it is known, the oldest first.
    since: VecDeque<(Instant, String)>,
}

impl Queue {
    /// Whether a message of this name was there a while ago; it is known from now on.
    fn knows(&mut self, name: &str, now: Instant) -> bool {
        while let Some((at, _)) = self.since.front()
            && now.duration_since(*at) >= KNOWN
        {
            if let Some((_, name)) = self.since.pop_front() {
                self.known.remove(&name);
            }
        }
        if !self.known.insert(name.to_owned()) {
            return true;
        }
        self.since.push_back((now, name.to_owned()));
        false
    }
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
            messages: BTreeMap::new(),
            known: BTreeSet::new(),
            since: VecDeque::new(),
        };
        Self {
            queues: specs
                .into_iter()
                .map(|spec| (spec.id.clone(), queue(spec)))
                .collect(),
            sent: 0,
        }
    }

    /// What waits in a queue, the first first.
    pub fn waiting(&self, id: &str) -> impl Iterator<Item = &Message> {
        let queue = self.queues.get(id).into_iter();
        queue.flat_map(|queue| queue.messages.values())
    }

    /// Whether there is a message in any of them.
    pub fn is_waiting(&self) -> bool {
        self.queues.values().any(|queue| !queue.messages.is_empty())
    }

    /// The first message that can be received, taken out: of those that are due at a time, or of
    /// all.
    pub fn receive(
        &mut self,
        id: &str,
        due: Option<Instant>,
        can: impl Fn(&Message) -> bool,
    ) -> Option<Message> {
        let queue = self.queues.get_mut(id)?;
        let until = due.map_or(Bound::Unbounded, |due| Bound::Included((due, u64::MAX)));
        let mut messages = queue.messages.range((Bound::Unbounded, until));
        let (place, _) = messages.find(|(_, message)| can(message))?;
        let place = *place;
        queue.messages.remove(&place)
    }

    /// Puts a message that was received back, for later.
    pub fn give_back(&mut self, id: &str, message: Message) {
        self.sent += 1;
        if let Some(queue) = self.queues.get_mut(id) {
            queue.messages.insert((message.due, self.sent), message);
        }
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
            if queue.knows(once, now) {
                return Ok(answer);
            }
        }
        let delay = message["DelaySeconds"].as_u64().map(Duration::from_secs);
        let message = Message {
            id,
            body: text("MessageBody").unwrap_or_default(),
            group: text("MessageGroupId"),
            once,
            due: now + delay.unwrap_or(queue.spec.delay),
            timer: delay.is_some_and(|delay| !delay.is_zero()),
        };
        queue.messages.insert((message.due, self.sent), message);
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
        let mut receive = |at| queues.receive("news", Some(at), |_| true);
        assert!(receive(now).is_none());
        let later = now + Duration::from_secs(3);
        assert!(receive(later).is_some());
        assert!(receive(later).is_none(), "taken out");
    }

    #[test]
    fn a_name_counts_once_in_five_minutes_where_order_counts() {
        let (mut queues, now) = (queues(), Instant::now());
        for queue in ["news", "work"] {
            send(&mut queues, queue, "a", now).unwrap();
            send(&mut queues, queue, "a", now + Duration::from_secs(299)).unwrap();
        }
        assert_eq!(
            (
                queues.waiting("news").count(),
                queues.waiting("work").count()
            ),
            (1, 2)
        );
        send(&mut queues, "news", "a", now + KNOWN).unwrap();
        assert_eq!(queues.waiting("news").count(), 2);
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
