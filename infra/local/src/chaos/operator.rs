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
const CANCEL_PROBABILITY: f64 = 0.06;
/// The probability that an operator retries a cancelled task.
const RETRY_PROBABILITY: f64 = 0.5;
/// The number of times that an operator repeats a command that failed.
const MAX_COMMAND_REPEATS: u32 = 2;
/// The time limit of the webhook's answer.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// The answers and actions of all operators of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct AllOperatorsRecord {
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
    pub(super) record: Arc<Mutex<AllOperatorsRecord>>,
    /// The number of commands that were typed; locked while one is under way.
    pub(super) typed: Mutex<u64>,
}

impl Operator {
    /// Creates a task at some time of a run of this length, and may have it cancelled and tried again.
    pub(super) async fn create_task_maybe_cancel(
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
        for _ in 0..=MAX_COMMAND_REPEATS {
            self.record.lock().await.asked += 1;
            match self.send_command(&command).await {
                CommandAnswer::Task(task) => {
                    self.record.lock().await.tasks.insert(task);
                    if rng.random_bool(CANCEL_PROBABILITY) {
                        pause(&mut rng, 0..6000).await;
                        self.send_command(&format!("cancel {task}")).await;
                        if rng.random_bool(RETRY_PROBABILITY) {
                            pause(&mut rng, 2000..15_000).await;
                            self.record.lock().await.retried.insert(task);
                            self.send_command(&format!("retry {task}")).await;
                        }
                    }
                    return;
                }
                CommandAnswer::Other => return,
                CommandAnswer::Failed => {
                    self.record.lock().await.unanswered += 1;
                    pause(&mut rng, 1000..4000).await;
                }
            }
        }
    }

    /// Types `/bm` and `text`, once the commands before are answered.
    async fn send_command(&self, text: &str) -> CommandAnswer {
        let mut typed = self.typed.lock().await;
        *typed += 1;
        let trigger = format!("{}.{typed}", self.channel);
        let stack = &self.stack;
        let request = SlashCommand::new(&self.channel, &stack.admin_user_id, text, &trigger)
            .signed_request(&stack.slack_signing_secret, SystemClock.now().as_secs());
        let url = format!("{}{}", stack.webhook_url, request.path);
        let mut sending = self
            .http
            .post(url)
            .timeout(WEBHOOK_TIMEOUT)
            .body(request.body);
        for (name, value) in &request.headers {
            sending = sending.header(*name, value);
        }
        let answer = async { sending.send().await?.error_for_status()?.text().await };
        answer
            .await
            .map_or(CommandAnswer::Failed, |text| CommandAnswer::parse(&text))
    }
}

async fn pause(rng: &mut StdRng, millis: Range<u64>) {
    sleep(Duration::from_millis(rng.random_range(millis))).await;
}

/// The answer to a command.
#[derive(Debug, PartialEq, Eq)]
enum CommandAnswer {
    /// A task was created: the answer says which.
    Task(TaskId),
    /// Something else was done, or nothing, and the answer says what.
    Other,
    /// The operator cannot know whether it was done.
    Failed,
}

impl CommandAnswer {
    /// Parses an answer as a person reads it.
    fn parse(body: &str) -> Self {
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
        let read = |text: &str| CommandAnswer::parse(&json!({ "text": text }).to_string());
        let created = format!("`a` has a new task: x\n`/bm status {id}`");
        assert_eq!(read(&created), CommandAnswer::Task(id.parse().unwrap()));
        assert_eq!(read("`x` is cancelled."), CommandAnswer::Other);
        let trouble = ":warning: Something went wrong on our side";
        assert_eq!(read(trouble), CommandAnswer::Failed);
        assert_eq!(CommandAnswer::parse("Bad Gateway"), CommandAnswer::Failed);
    }
}
