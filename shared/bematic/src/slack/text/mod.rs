//! The texts that an operator reads besides a task's card, one function each.

use std::fmt::{Display, Write as _};

use bematic_protocol::{
    ids::{AgentId, ChannelId, TaskId},
    time::Timestamp,
};

use super::mrkdwn::{self, escape};
use crate::{
    agent::{Agent, Route},
    batch::BatchKind,
    command::{self, CommandError},
    dead_letter::{DeadLetter, DeadLetterQueueSummary},
    task::{Task, TaskState},
};

mod format;
mod health;
mod people;

pub(super) use format::{ago, count_with_noun, duration, progress_bar};
pub(super) use health::failure_message;
pub(crate) use health::{
    AgentHealth, breaker_contended, breaker_order_answer, health_details, health_list,
};
pub(crate) use people::{
    audit_records, membership_refused, membership_unknown, missing_scope, outsider, role_given,
    unauthorized, users,
};

pub(crate) fn run_accepted(task: &Task) -> String {
    format!(
        ":white_check_mark: `{agent}` has a new task: {title}\n\
         It is in line there. A message here follows it, and says what it waits for.\n\
         `/bm status {id}`",
        agent = task.agent_id,
        title = escape(&task.title),
        id = task.id,
    )
}

/// Returns the confirmation that a task was cancelled, is being cancelled, or is retried.
pub(crate) fn cancel_or_retry_accepted(task: &Task) -> String {
    let (id, agent) = (task.id, &task.agent_id);
    match &task.state {
        TaskState::Pending { .. } => {
            format!(":arrows_counterclockwise: `{id}` is in line again at `{agent}`.")
        }
        TaskState::Dispatched { .. } | TaskState::Processing { .. } => {
            format!(":octagonal_sign: `{agent}` is told to stop `{id}`.")
        }
        state => format!("{} `{id}` is {}.", state_emoji(state), state.name()),
    }
}

/// Returns the answer where there was nothing to cancel or to retry.
pub(crate) fn task_unchanged(task: &Task) -> String {
    let id = task.id;
    match &task.state {
        TaskState::Completed { .. } => {
            format!("`{id}` is completed. `/bm run` makes a new task of it.")
        }
        state if state.is_terminal() => {
            format!(
                "`{id}` is {} already. `/bm retry {id}` tries it again.",
                state.name()
            )
        }
        state if state.cancel_request().is_some() => {
            format!("`{id}` is being stopped already.")
        }
        state => format!("`{id}` is {}; there is nothing to try again.", state.name()),
    }
}

pub(crate) fn bulk_accepted(kind: BatchKind) -> String {
    let what = match kind {
        BatchKind::Cancel => "All of this channel's tasks that are not over are being cancelled",
        BatchKind::Retry => "All of this channel's tasks that failed are being tried again",
        BatchKind::Archive => "All of this channel's tasks that are over are being archived",
    };
    format!(":white_check_mark: {what}; a message here follows it.")
}

pub(crate) fn dead_letters(queues: &[DeadLetterQueueSummary], now: Timestamp) -> String {
    let found: Vec<_> = queues.iter().filter(|queue| queue.count > 0).collect();
    if found.is_empty() {
        return ":white_check_mark: No dead letters: everything was handled.".to_owned();
    }
    let mut lines = Vec::new();
    for queue in found {
        let name: &str = queue.queue.into();
        let count = count_with_noun(queue.count, "message");
        lines.push(format!("*{name}*: {count} given up"));
        lines.extend(
            queue
                .letters
                .iter()
                .map(|letter| dead_letter_line(letter, now)),
        );
    }
    lines.push("Once the cause is fixed, `/bm redrive` has them tried again.".to_owned());
    fit_lines(lines.into_iter())
}

fn dead_letter_line(letter: &DeadLetter, now: Timestamp) -> String {
    /// The number of characters of a reason in a list.
    const REASON: usize = 200;
    let since = ago(letter.since, now);
    match &letter.reason {
        Some(reason) => format!(
            "• `{}` {} – {since}",
            escape(&reason.code),
            mrkdwn::escape_one_line(&reason.text, REASON)
        ),
        None => format!("• The function ended before it could say why – {since}"),
    }
}

pub(crate) fn dead_letters_redriven(count: usize) -> String {
    match count {
        0 => "There is nothing to try again.".to_owned(),
        count => format!(
            ":arrows_counterclockwise: {} given again. `/bm dead-letters` shows what is left or \
             comes back.",
            count_with_noun(count, "message")
        ),
    }
}

pub(crate) fn no_project(channel: &ChannelId) -> String {
    format!(
        ":file_folder: This channel has no project yet, so I don't know which agent and folder to \
         use. An admin gives it one with\n```bematic project create --channel {channel} --name \
         &lt;name&gt; --agent &lt;agent&gt; --local-path &lt;folder on its machine&gt;```\nThen try \
         again."
    )
}

pub(crate) fn unknown_agent(given: &AgentId, known: &[AgentId]) -> String {
    /// The number of agents that fit in a sentence.
    const NAMED: usize = 20;
    if known.is_empty() {
        return format!(
            "There is no agent `{given}`, nor any other yet. An admin adds one with `bematic \
             agent create &lt;name&gt;`."
        );
    }
    let more = match known.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let known = inline_code_list(known.iter().take(NAMED));
    format!("There is no agent `{given}`. Known: {known}{more}.")
}

/// Returns the refusal of an agent that the channel's project does not name.
pub(crate) fn agent_not_of_project(agent: &AgentId, route: &Route, channel: &ChannelId) -> String {
    let own = inline_code_list(route.named_agents().iter());
    format!(
        ":no_entry: This channel's project does not allow `{agent}`, only {own}. An admin adds it with \
         `bematic project edit --channel {channel} --agent {route},{agent}`."
    )
}

/// Returns the answer where none of the route's agents exists.
pub(crate) fn no_route_agent_exists(route: &Route) -> String {
    let [first, ..] = route.named_agents() else {
        return "There is no agent yet. An admin adds one with `bematic agent create \
                &lt;name&gt;`."
            .to_owned();
    };
    format!(
        "This channel's project names only agents that do not exist: `{route}`. An admin adds one \
         with `bematic agent create {first}`, or names others with `bematic project create \
         … --replace`."
    )
}

pub(crate) fn unknown_task(task: TaskId) -> String {
    format!("There is no task `{task}`. `/bm tasks` lists this channel's latest.")
}

pub(crate) fn command_error(error: &CommandError) -> String {
    escape(&error.to_string())
}

pub(crate) fn prompt_too_large(bytes: usize, limit: usize) -> String {
    format!(
        "The prompt is too large: with the project's settings it makes a message of {} KB, and an \
         agent takes {} KB. Shorten it, or put the long part into a file in the project and name \
         the file.",
        bytes.div_ceil(1024),
        limit / 1024
    )
}

pub(crate) fn queue_full(agent: &AgentId, limit: usize) -> String {
    format!(
        ":vertical_traffic_light: {} wait for `{agent}` already, and no more are taken. There is room again as \
         soon as it begins the next one; `/bm tasks` shows how it gets on. If the project has other agents, \
         `--agent` names one.",
        count_with_noun(limit, "task")
    )
}

pub(crate) fn hourly_limit_reached(limit: u32, now: Timestamp) -> String {
    const SECS_PER_HOUR: u64 = 3600;
    let left = SECS_PER_HOUR - now.as_secs() % SECS_PER_HOUR;
    format!(
        ":vertical_traffic_light: You have created {limit} tasks in this hour, which is the limit. There is room \
         again in {}.",
        duration(std::time::Duration::from_secs(left))
    )
}

/// Returns the answer where it is not known whether the command took effect: storing takes longer
/// than Slack waits, or a queue failed after it.
pub(crate) fn command_not_confirmed() -> String {
    ":hourglass: This takes longer than usual, and I can't say yet whether it worked. Look at \
     `/bm tasks`, or `/bm health`, before you repeat it."
        .to_owned()
}

pub(crate) fn internal_error(code: &str) -> String {
    format!(
        ":warning: Something went wrong on our side (`{}`). Try again in a minute; if it stays, \
         give an admin this code.",
        escape(code)
    )
}

/// Returns the answer to a command that fails however often it is repeated.
pub(crate) fn permanent_error(code: &str, why: &str) -> String {
    format!(
        ":warning: This cannot be done: {} (`{}`). Repeating it is no help; change it, or give an admin \
         this code.",
        escape(why),
        escape(code)
    )
}

pub(crate) fn help() -> String {
    let mut text = String::from("*What you can write*\n");
    for entry in &command::COMMANDS {
        let written = format!("/bm {} {}", entry.name, entry.arguments);
        let _ = writeln!(text, "`{}` – {}", escape(written.trim_end()), entry.does);
    }
    text.push_str(
        "`@bot &lt;prompt&gt;` – as `run` without options; in a thread, the answer comes there",
    );
    text
}

pub(crate) fn tasks(tasks: &[Task], now: Timestamp) -> String {
    if tasks.is_empty() {
        return "No task yet. Write `/bm run &lt;prompt&gt;` to give an agent one.".to_owned();
    }
    fit_lines(tasks.iter().map(|task| task_list_item(task, now)))
}

fn task_list_item(task: &Task, now: Timestamp) -> String {
    /// The number of characters of a title in a list.
    const TITLE: usize = 60;
    format!(
        "{} *{}* {} – `{}`, {}\n      `{}`",
        state_emoji(&task.state),
        task.state.name(),
        mrkdwn::escape_one_line(&task.title, TITLE),
        task.agent_id,
        ago(task.created_at, now),
        task.id,
    )
}

pub(crate) fn agents(agents: &[Agent], now: Timestamp) -> String {
    if agents.is_empty() {
        return "No agent yet. An admin adds one with `bematic agent create &lt;name&gt;`."
            .to_owned();
    }
    fit_lines(agents.iter().map(|agent| {
        let (id, running) = (&agent.id, agent.held.len());
        match (&agent.connection, agent.last_seen) {
            (Some(_), _) => format!(
                ":large_green_circle: `{id}` online, {running} of {} running",
                agent.capacity
            ),
            (None, Some(at)) => {
                format!(":white_circle: `{id}` offline, last seen {}", ago(at, now))
            }
            (None, None) => format!(":white_circle: `{id}` offline, never seen"),
        }
    }))
}

/// The number of characters of a list, with room for the text around it.
const MAX_LIST_CHARS: usize = super::Message::MAX_SECTION_CHARS - 200;

/// Renders names as code, with commas between them.
pub(super) fn inline_code_list(names: impl Iterator<Item: Display>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Joins as many lines as fit, and says how many are left.
fn fit_lines(lines: impl ExactSizeIterator<Item = String>) -> String {
    let all = lines.len();
    let (text, shown) = take_fitting_lines(lines, "and 1000000 more".len());
    match all - shown {
        0 => text,
        left => format!("{text}\nand {left} more"),
    }
}

/// Joins as many lines as leave room for `reserved` characters after them. Returns their number, too.
fn take_fitting_lines(lines: impl Iterator<Item = String>, reserved: usize) -> (String, usize) {
    let (mut text, mut taken) = (String::new(), 0);
    for line in lines {
        let line = if taken > 0 { format!("\n{line}") } else { line };
        if mrkdwn::utf16_len(&text) + mrkdwn::utf16_len(&line) + reserved > MAX_LIST_CHARS {
            break;
        }
        text.push_str(&line);
        taken += 1;
    }
    (text, taken)
}

pub(super) const fn state_emoji(state: &TaskState) -> &'static str {
    match state {
        TaskState::Pending { .. } => ":hourglass_flowing_sand:",
        TaskState::Dispatched { .. } => ":satellite_antenna:",
        TaskState::Processing { .. } => ":gear:",
        TaskState::Completed { .. } => ":white_check_mark:",
        TaskState::Failed { .. } => ":x:",
        TaskState::Cancelled { .. } => ":no_entry_sign:",
    }
}

#[cfg(test)]
mod tests;
