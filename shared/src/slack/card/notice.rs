//! That an agent's circuit breaker opened, and that it closed again, as one Slack message each.

use crate::{
    breaker::{Breaker, Opened, State},
    ids::AgentId,
    slack::{
        Message,
        message::{actions, context, section},
        mrkdwn,
        text::{duration, tripped},
    },
};

/// The button that has a breaker start anew: its value is the agent.
pub const RESET: &str = "breaker_reset";

/// It opened. Once it is closed again, there is nothing to press any more.
pub fn opened_notice(agent: &AgentId, opened: &Opened, breaker: &Breaker) -> Message {
    /// Characters of the last error.
    const ERROR: usize = 300;
    let headline = format!(":red_circle: `{agent}` gets no more work for now");
    let error = match &breaker.last_failure {
        Some(failure) if !failure.message.is_empty() => {
            format!("\nLast error: {}", mrkdwn::line(&failure.message, ERROR))
        }
        _ => String::new(),
    };
    let is_over = breaker.state == State::Closed;
    let next = if is_over {
        "It is over."
    } else {
        "What waits for it stays in line, or goes to another agent where its project names several. \
         The breaker tries it again by itself."
    };
    let why = tripped(&opened.trip);
    let mut blocks = vec![
        section(format!("{headline}\n{why}.{error}")),
        context(format!("{next} `/bm health {agent}` tells more.")),
    ];
    if !is_over {
        blocks.push(actions([(RESET, "Reset", agent.as_str())].into_iter()));
    }
    Message {
        text: headline,
        blocks,
    }
}

/// It closed again.
pub fn closed_notice(agent: &AgentId, opened: &Opened, breaker: &Breaker) -> Message {
    let headline = format!(":large_green_circle: `{agent}` gets work again");
    let after = match breaker.since {
        Some(since) => format!(" after {}", duration(since.since(opened.at))),
        None => String::new(),
    };
    Message {
        blocks: vec![section(format!("{headline}{after}."))],
        text: headline,
    }
}
