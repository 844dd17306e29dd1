//! A channel of the local Slack, and a person who types in it.

use std::time::Duration;

use bematic_local::stack::StackFile;
use local_slack::{Client, SayOutcome, Ts};
use serde_json::{Value, json};

use super::test::unique;
use super::trace::Trace;
use super::{Card, LIMIT, eventually, eventually_within, shown};

/// Types a slash command; gives what only the person who typed it sees.
async fn answer_to(person: &Client, text: &str) -> String {
    let said = person
        .send_command(text)
        .await
        .expect("the local Slack takes it");
    let answer = said
        .response
        .unwrap_or_else(|| panic!("no answer: {:?}", said.delivery));
    assert_eq!(answer["response_type"], "ephemeral", "{answer}");
    shown(&answer)
}

/// A test's channel.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) id: String,
    stack: StackFile,
    trace: Trace,
    person: Client,
    http: reqwest::Client,
}

impl Channel {
    pub(crate) async fn create(stack: &StackFile, trace: &Trace, name: &str) -> Self {
        let unique = unique();
        let id = format!("C{}", unique.to_uppercase());
        trace.add(&id);
        let channel = Self::known(stack, trace, &id);
        let wanted = local_slack::Channel {
            id: id.clone(),
            name: format!("{name}-{unique}"),
            topic: String::new(),
            has_bot: true,
        };
        let added = channel.person.add_channel(&wanted).await;
        added.expect("a new channel");
        channel
    }

    /// A channel that is there.
    pub(crate) fn known(stack: &StackFile, trace: &Trace, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            stack: stack.clone(),
            trace: trace.clone(),
            person: Client::new(&stack.slack_url, id, &stack.admin_user_id),
            http: reqwest::Client::new(),
        }
    }

    /// Types a slash command; gives what only the person who typed it sees.
    pub(crate) async fn command(&self, text: &str) -> String {
        answer_to(&self.person, text).await
    }

    /// Somebody else types a slash command, whom the local Slack gets to know by that.
    pub(crate) async fn command_of(&self, person: &local_slack::User, text: &str) -> String {
        let client = Client::new(&self.stack.slack_url, &self.id, &person.id);
        client.add_user(person).await.expect("a new person");
        answer_to(&client, text).await
    }

    /// `/bm run`; gives the new task's id.
    pub(crate) async fn run(&self, prompt: &str) -> String {
        let answer = self.command(&format!("/bm run {prompt}")).await;
        let task = task_in(&answer).unwrap_or_else(|| panic!("no task was made: {answer}"));
        self.trace.add(&task);
        task
    }

    /// Says something that is not for the bot.
    pub(crate) async fn say(&self, text: &str) -> Ts {
        let url = format!("{}/control/say", self.stack.slack_url);
        let said = self
            .http
            .post(url)
            .json(&json!({ "channel": self.id, "text": text }));
        let said: SayOutcome = said
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        said.ts.expect("a message")
    }

    /// Mentions the bot, in the channel or a thread.
    pub(crate) async fn mention(&self, text: &str, thread: Option<Ts>) -> SayOutcome {
        let said = self.person.mention(text, thread).await;
        said.expect("the local Slack takes it")
    }

    /// The channel's messages, oldest first.
    pub(crate) async fn messages(&self) -> Vec<Value> {
        let mut messages = self
            .read("conversations.history", &[("limit", "999")])
            .await;
        messages.reverse();
        messages
    }

    /// A thread's messages, oldest first.
    pub(crate) async fn thread(&self, ts: Ts) -> Vec<Value> {
        self.read("conversations.replies", &[("ts", &ts.to_string())])
            .await
    }

    async fn read(&self, method: &str, arguments: &[(&str, &str)]) -> Vec<Value> {
        let mut form = vec![("channel", self.id.as_str())];
        form.extend(arguments);
        let request = self
            .http
            .post(format!("{}/{method}", self.stack.slack_api_url));
        let request = request.bearer_auth(&self.stack.slack_bot_token).form(&form);
        let answer: Value = request
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(answer["ok"], true, "{answer}");
        answer["messages"].as_array().cloned().unwrap_or_default()
    }

    /// The messages about a task: one, if all is well.
    pub(crate) async fn cards(&self, task: &str) -> Vec<Card> {
        let messages = self.messages().await;
        messages
            .iter()
            .map(Card::of)
            .filter(|card| card.text.contains(task))
            .collect()
    }

    /// The task's message, once it can be read that it is `words`.
    pub(crate) async fn card(&self, task: &str, words: &str) -> Card {
        self.card_within(LIMIT, task, words).await
    }

    /// The same, of what takes its time.
    pub(crate) async fn card_within(&self, limit: Duration, task: &str, words: &str) -> Card {
        let what = format!("the card of {task} says {words:?}");
        eventually_within(limit, &what, async || {
            match self.cards(task).await.as_slice() {
                [card] if card.text.contains(words) => Ok(card.clone()),
                cards => Err(format!("{cards:#?}")),
            }
        })
        .await
    }

    /// What `/bm status` says, once it has these words: a state that may pass before Slack's limits
    /// let the card show it.
    pub(crate) async fn status(&self, task: &str, words: &str) -> String {
        let what = format!("the status of {task} has {words:?}");
        eventually(&what, async || {
            let status = self.command(&format!("/bm status {task}")).await;
            if status.contains(words) {
                Ok(status)
            } else {
                Err(status)
            }
        })
        .await
    }

    /// Presses a button of a card.
    pub(crate) async fn press(&self, card: &Card, action: &str) {
        assert!(
            card.buttons.iter().any(|button| button == action),
            "no button {action} in {card:#?}"
        );
        let ts = card.ts.parse().expect("a message's place");
        let pressed = self.person.click(ts, action).await;
        let pressed = pressed.expect("the local Slack takes it");
        assert_eq!(pressed["delivery"]["status"], 200, "{pressed}");
    }

    /// Returns once the card of `task` reads as `expected`, which is that of another task.
    pub(crate) async fn same_card(&self, task: &str, expected: &Card, of: &str) {
        eventually("the cards are the same", async || {
            let card = self.card(task, "Completed").await;
            let shown = card.text.replace(task, of);
            if shown == expected.text {
                Ok(())
            } else {
                Err(format!("{shown}\ninstead of\n{}", expected.text))
            }
        })
        .await;
    }

    /// What the channel's next calls of a method meet; see the local Slack's `/control/faults`.
    pub(crate) async fn fault(&self, mut fault: Value) {
        fault["channel"] = json!(self.id);
        let url = format!("{}/control/faults", self.stack.slack_url);
        let sent = self.http.post(url).json(&fault).send().await;
        let sent = sent.and_then(reqwest::Response::error_for_status);
        sent.expect("the local Slack takes the fault");
    }

    /// The calls of one method in this channel: the HTTP status of each answer, in order.
    pub(crate) async fn calls(&self, method: &str) -> Vec<u64> {
        let url = format!("{}/control/calls", self.stack.slack_url);
        let answer = self.http.get(url).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let calls = answer["calls"].as_array().expect("a list of calls");
        let own = |call: &&Value| call["channel"] == self.id.as_str() && call["method"] == method;
        calls
            .iter()
            .filter(own)
            .filter_map(|call| call["status"].as_u64())
            .collect()
    }
}

/// The id in `/bm status <id>`.
fn task_in(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once("/bm status ")?;
    Some(rest.split('`').next()?.to_owned())
}
