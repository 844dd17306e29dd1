//! The Web API methods `conversations.*`: channels and their messages.

use serde_json::{Value, json};

use crate::call_arguments::CallArguments;
use crate::config::Channel;
use crate::error::{Code, Refusal};
use crate::message::Message;
use crate::state::Slack;
use crate::ts::Ts;

/// The most messages in a page.
const MAX_PAGE_SIZE: usize = 999;
/// The prefix of a cursor; the rest is the `ts` after which the next page begins.
const CURSOR_PREFIX: &str = "next_ts:";

/// Returns a page of a channel's messages, newest first, without the replies in threads.
pub(crate) fn history(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let workspace = slack.workspace();
    let channel = workspace.joined_channel(args.required("channel")?)?;
    let page = PageRequest::read(args, 100)?;
    let wanted = workspace
        .messages(&channel.id, false)
        .rev()
        .filter(|message| message.thread.is_none() && page.time_range_contains(message.ts))
        .filter(|message| page.cursor.is_none_or(|before| message.ts < before));
    Ok(page.paginate(wanted))
}

/// Returns a page of a thread: its first message, then its replies, oldest first.
pub(crate) fn replies(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let workspace = slack.workspace();
    let channel = workspace.joined_channel(args.required("channel")?)?;
    let ts = args.message_ts("thread_not_found")?;
    let named = workspace.find_non_ephemeral_message(&channel.id, ts);
    let first = named.map_err(|_| "thread_not_found")?.thread;
    let first = first.unwrap_or(ts);
    let page = PageRequest::read(args, MAX_PAGE_SIZE)?;
    let wanted = workspace
        .messages(&channel.id, false)
        .filter(|message| {
            message.ts == first
                || message.thread == Some(first) && page.time_range_contains(message.ts)
        })
        .filter(|message| page.cursor.is_none_or(|after| message.ts > after));
    Ok(page.paginate(wanted))
}

pub(crate) fn info(slack: &Slack, args: &CallArguments) -> Result<Value, Refusal> {
    let workspace = slack.workspace();
    let channel = workspace.channel(args.required("channel")?)?;
    Ok(json!({ "channel": channel_json(channel) }))
}

pub(crate) fn list(slack: &Slack) -> Value {
    let channels: Vec<_> = slack
        .workspace()
        .channels
        .iter()
        .map(channel_json)
        .collect();
    json!({ "channels": channels, "response_metadata": { "next_cursor": "" } })
}

fn channel_json(channel: &Channel) -> Value {
    json!({
        "id": channel.id, "name": channel.name, "name_normalized": channel.name,
        "is_channel": true, "is_private": false, "is_archived": false,
        "is_member": channel.has_bot, "topic": { "value": channel.topic },
    })
}

/// The page of messages that a call requests.
struct PageRequest {
    limit: usize,
    oldest: Option<Ts>,
    latest: Option<Ts>,
    inclusive: bool,
    with_metadata: bool,
    cursor: Option<Ts>,
}

impl PageRequest {
    fn read(args: &CallArguments, default: usize) -> Result<Self, Refusal> {
        let limit = args.count("limit", default);
        let limit = limit.filter(|limit| (1..=MAX_PAGE_SIZE).contains(limit));
        Ok(Self {
            limit: limit.ok_or("invalid_limit")?,
            oldest: args.ts_bound("oldest", "invalid_ts_oldest")?,
            latest: args.ts_bound("latest", "invalid_ts_latest")?,
            inclusive: args.flag("inclusive"),
            with_metadata: args.flag("include_all_metadata"),
            cursor: args.text("cursor").map(parse_cursor).transpose()?,
        })
    }

    /// Whether a message is between `oldest` and `latest`.
    fn time_range_contains(&self, ts: Ts) -> bool {
        let edge = |bound| self.inclusive && ts == bound;
        self.oldest.is_none_or(|oldest| ts > oldest || edge(oldest))
            && self.latest.is_none_or(|latest| ts < latest || edge(latest))
    }

    /// Returns the answer with the first messages of those wanted, and the cursor of the next page.
    fn paginate<'a>(&self, wanted: impl Iterator<Item = &'a Message>) -> Value {
        let mut found: Vec<_> = wanted.take(self.limit + 1).collect();
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        let messages: Vec<_> = found.iter().map(|it| it.json(self.with_metadata)).collect();
        let mut answer = json!({ "messages": messages, "has_more": has_more });
        if let Some(last) = found.last().filter(|_| has_more) {
            let next = hex::encode(format!("{CURSOR_PREFIX}{}", last.ts));
            answer["response_metadata"] = json!({ "next_cursor": next });
        }
        answer
    }
}

fn parse_cursor(encoded: &str) -> Result<Ts, Code> {
    let bytes = hex::decode(encoded).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.strip_prefix(CURSOR_PREFIX)?.parse().ok())
        .ok_or("invalid_cursor")
}
