//! The operators: each creates tasks in a channel of its own, cancels some, and retries some of those. Their
//! commands go straight to the webhook, past the local Slack, which would not wait long enough for it when
//! the machine is slow.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bematic_protocol::ids::TaskId;
use bematic_protocol::time::{Clock as _, SystemClock};
use local_slack::SlashCommand;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::stack::StackFile;

/// The probability that an operator cancels a task.
const CANCELLED: f64 = 0.06;
/// The probability that an operator retries a cancelled task.
const RETRIED: f64 = 0.5;
/// The number of times that an operator repeats a command that failed.
const REPEATS: u32 = 2;
/// The time limit of the webhook's answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The answers and actions of all operators of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct OperatorRecord {
    /// The tasks of which the answer said that they were created.
    pub(super) tasks: BTreeSet<TaskId>,
    /// The tasks that an operator had tried again.
    pub(super) retried: BTreeSet<TaskId>,
    pub(super) asked: usize,
    /// Commands without a proper answer.
    pub(super) unanswered: usize,
}

pub(super) struct Operator {
    pub(super) http: reqwest::Client,
    pub(super) stack: StackFile,
    pub(super) channel: String,
    /// The record of all operators.
    pub(super) record: Arc<Mutex<OperatorRecord>>,
    /// The number of commands that were typed; locked while one is under way.
    pub(super) typed: Mutex<u64>,
}

impl Operator {
    /// Creates a task at some time of a run of this length, and may have it cancelled and tried again.
    pub(super) async fn create_task(
        self: Arc<Self>,
        number: usize,
        run: Duration,
        mut rng: StdRng,
    ) {
        let millis = u64::try_from(run.as_millis()).unwrap_or(u64::MAX).max(1);
        pause(&mut rng, 0..millis).await;
        let options = ["", "", "", "--priority high ", "--priority low "];
        let option = options[rng.random_range(0..options.len())];
        let command = format!("run {option}do number {number}");
        for _ in 0..=REPEATS {
            self.record.lock().await.asked += 1;
            match self.command(&command).await {
                Answer::Task(task) => {
                    self.record.lock().await.tasks.insert(task);
                    if rng.random_bool(CANCELLED) {
                        pause(&mut rng, 0..6000).await;
                        self.command(&format!("cancel {task}")).await;
                        if rng.random_bool(RETRIED) {
                            pause(&mut rng, 2000..15_000).await;
                            self.record.lock().await.retried.insert(task);
                            self.command(&format!("retry {task}")).await;
                        }
                    }
                    return;
                }
                Answer::Other => return,
                Answer::Failed => {
                    self.record.lock().await.unanswered += 1;
                    pause(&mut rng, 1000..4000).await;
                }
            }
        }
    }

    /// Types `/bm` and `text`, once the commands before are answered.
    async fn command(&self, text: &str) -> Answer {
        let mut typed = self.typed.lock().await;
        *typed += 1;
        let trigger = format!("{}.{typed}", self.channel);
        let stack = &self.stack;
        let request = SlashCommand::new(&self.channel, &stack.admin_user_id, text, &trigger)
            .signed(&stack.slack_signing_secret, SystemClock.now().as_secs());
        let url = format!("{}{}", stack.webhook_url, request.path);
        let mut sending = self.http.post(url).timeout(TIMEOUT).body(request.body);
        for (name, value) in &request.headers {
            sending = sending.header(*name, value);
        }
        let answer = async { sending.send().await?.error_for_status()?.text().await };
        answer
            .await
            .map_or(Answer::Failed, |text| Answer::read(&text))
    }
}

async fn pause(rng: &mut StdRng, millis: Range<u64>) {
    sleep(Duration::from_millis(rng.random_range(millis))).await;
}

/// The answer to a command.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// A task was created: the answer says which.
    Task(TaskId),
    /// Something else was done, or nothing, and the answer says what.
    Other,
    /// The operator cannot know whether it was done.
    Failed,
}

impl Answer {
    /// Reads an answer as a person does.
    fn read(body: &str) -> Self {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let text = body.to_string();
        if let Some((_, rest)) = text.split_once("/bm status ") {
            let id = rest.split('`').next().unwrap_or_default();
            return id.parse().map_or(Self::Failed, Self::Task);
        }
        if body.is_null() || text.contains(":warning:") || text.contains(":hourglass:") {
            Self::Failed
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_as_a_person_reads_it() {
        let id = "0198c0de-0000-7000-8000-000000000001";
        let read = |text: &str| Answer::read(&json!({ "text": text }).to_string());
        let created = format!("`a` has a new task: x\n`/bm status {id}`");
        assert_eq!(read(&created), Answer::Task(id.parse().unwrap()));
        assert_eq!(read("`x` is cancelled."), Answer::Other);
        let trouble = ":warning: Something went wrong on our side";
        assert_eq!(read(trouble), Answer::Failed);
        assert_eq!(Answer::read("Bad Gateway"), Answer::Failed);
    }
}
