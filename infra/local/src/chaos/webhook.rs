//! Slash commands that are sent straight to the webhook, past the local Slack: the operators need its
//! answer, and wait longer than Slack does, since the machine may be slow.

use std::time::Duration;

use bematic_protocol::ids::TaskId;
use bematic_protocol::time::{Clock as _, SystemClock};
use local_slack::SlashCommand;
use serde_json::Value;

use super::world::World;
use crate::stack::StackFile;

/// The time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A task was created: the answer says which.
    Task(TaskId),
    /// Something else was done, or nothing, and the answer says what.
    Other,
    /// The operator cannot know whether it was done.
    Failed,
}

/// Types commands in one channel.
#[derive(Debug)]
pub(super) struct Webhook {
    http: reqwest::Client,
    stack: StackFile,
    channel: String,
    typed: u64,
}

impl Webhook {
    pub(super) fn new(world: &World, channel: &str) -> Self {
        Self {
            http: world.http.clone(),
            stack: world.stack.clone(),
            channel: channel.to_owned(),
            typed: 0,
        }
    }

    /// Types `/bm` and `text`.
    pub(super) async fn command(&mut self, text: &str) -> Answer {
        self.typed += 1;
        let trigger = format!("{}.{}", self.channel, self.typed);
        let command = SlashCommand::new(&self.channel, &self.stack.admin_user_id, text, &trigger);
        self.post(&command)
            .await
            .map_or(Answer::Failed, |said| read(&said))
    }

    async fn post(&self, command: &SlashCommand<'_>) -> reqwest::Result<String> {
        let request = command.signed(
            &self.stack.slack_signing_secret,
            SystemClock.now().as_secs(),
        );
        let mut sending = self
            .http
            .post(format!("{}{}", self.stack.webhook_url, request.path));
        for (name, value) in &request.headers {
            sending = sending.header(*name, value);
        }
        let sent = sending.timeout(PATIENCE).body(request.body).send().await?;
        sent.error_for_status()?.text().await
    }
}

/// Reads an answer as a person does.
fn read(said: &str) -> Answer {
    let said: Value = serde_json::from_str(said).unwrap_or_default();
    let text = said.to_string();
    if let Some((_, rest)) = text.split_once("/bm status ") {
        let id = rest.split('`').next().unwrap_or_default();
        return id.parse().map_or(Answer::Failed, Answer::Task);
    }
    let troubled = [":warning:", ":hourglass:"];
    if said.is_null() || troubled.iter().any(|word| text.contains(word)) {
        Answer::Failed
    } else {
        Answer::Other
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_as_a_person_reads_it() {
        let id = "0198c0de-0000-7000-8000-000000000001";
        let told = json!({ "text": format!("`a` has a new task: x\n`/bm status {id}`") });
        assert_eq!(read(&told.to_string()), Answer::Task(id.parse().unwrap()));
        let done = json!({ "text": "`x` is cancelled." });
        assert_eq!(read(&done.to_string()), Answer::Other);
        let trouble = json!({ "text": ":warning: Something went wrong on our side" });
        assert_eq!(read(&trouble.to_string()), Answer::Failed);
        assert_eq!(read("Bad Gateway"), Answer::Failed);
    }
}
