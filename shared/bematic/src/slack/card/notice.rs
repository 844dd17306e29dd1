//! The notices in the operations channel: that a circuit breaker opened, that it closed again, and
//! that another address has taken over an agent's connection.

use bematic_protocol::ids::AgentId;

use crate::{
    agent::TakeOver,
    breaker::{ClosedBy, Incident, IncidentEnd},
    slack::{
        Message,
        message::{actions_block, context_block, section_block},
        text::{duration, failure_message},
    },
};

/// The action id of the button that resets a breaker: its value is the agent.
pub(crate) const RESET_ACTION_ID: &str = "breaker_reset";

/// Renders the notice that a breaker opened. It has a button until the breaker is closed again.
pub(crate) fn breaker_opened_notice(agent: &AgentId, incident: &Incident) -> Message {
    /// The number of characters of the error.
    const ERROR: usize = 300;
    let headline = format!(":red_circle: `{agent}` gets no more work for now");
    let error = match &incident.failure {
        Some(last) => format!("\nLast error: {}", failure_message(last, ERROR)),
        None => String::new(),
    };
    let mut blocks = vec![section_block(format!(
        "{headline}\n{}.{error}",
        incident.trip
    ))];
    if incident.closed.is_some() {
        blocks.push(context_block("The breaker has closed again.".to_owned()));
    } else {
        blocks.push(context_block(format!(
            "Its waiting tasks stay in its queue, or move to another agent if their project names \
             several. After {} a few tasks are sent to it as probes. `/bm health {agent}` shows \
             more.",
            duration(incident.retry_at.since(incident.at))
        )));
        blocks.push(actions_block(
            [(RESET_ACTION_ID, "Reset", agent.as_str())].into_iter(),
        ));
    }
    Message {
        text: headline,
        blocks,
    }
}

/// Renders the notice that a breaker closed again.
pub(crate) fn breaker_closed_notice(
    agent: &AgentId,
    incident: &Incident,
    closed: &IncidentEnd,
) -> Message {
    let headline = format!(":large_green_circle: `{agent}` gets work again");
    let after = duration(closed.at.since(incident.at));
    let by = match closed.by {
        ClosedBy::Probes(1) => "a probe succeeded".to_owned(),
        ClosedBy::Probes(probes) => format!("{probes} probes succeeded"),
        ClosedBy::Operator => "an operator reset it".to_owned(),
    };
    Message {
        blocks: vec![section_block(format!("{headline} after {after}: {by}."))],
        text: headline,
    }
}

/// Renders the notice that another address has taken over an agent's connection.
pub(crate) fn take_over_notice(take_over: &TakeOver) -> Message {
    let TakeOver {
        agent_id: agent,
        key_id,
        from,
        to,
        ..
    } = take_over;
    let headline = format!(":warning: `{agent}` is connected from another address");
    let (key, option) = match key_id {
        Some(id) => (format!(" with the key `{id}`"), format!(" --key {id}")),
        None => (String::new(), String::new()),
    };
    Message {
        blocks: vec![
            section_block(format!(
                "{headline}\nA connection from `{to}`{key} has replaced one from `{from}` that was still \
                 alive."
            )),
            context_block(format!(
                "If this is not the agent's own machine on another network, somebody else has its key: \
                 `bematic agent revoke {agent}{option}` revokes it, and `bematic agent create {agent} \
                 --add-key` issues another."
            )),
        ],
        text: headline,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::breaker::{FailureKind, LastFailure, Trip};
    use bematic_protocol::time::Timestamp;

    const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn incident() -> Incident {
        Incident {
            number: 1,
            at: AT,
            trip: Trip::FailureRate {
                failures: 5,
                total: 10,
            },
            failure: Some(LastFailure {
                at: AT,
                kind: FailureKind::Error,
                message: "<!channel> no space\nleft".into(),
            }),
            retry_at: AT + Duration::from_mins(1),
            closed: None,
        }
    }

    fn agent() -> AgentId {
        "box".parse().unwrap()
    }

    fn blocks(message: &Message) -> Value {
        serde_json::to_value(&message.blocks).unwrap()
    }

    #[test]
    fn an_opening_says_why_what_becomes_of_work_and_how_to_undo_it() {
        let message = breaker_opened_notice(&agent(), &incident());
        assert_eq!(message.text, ":red_circle: `box` gets no more work for now");
        let blocks = blocks(&message);
        assert_eq!(
            blocks[0]["text"]["text"],
            ":red_circle: `box` gets no more work for now\n\
             It opened because 5 of 10 tasks failed.\n\
             Last error: &lt;!channel&gt; no space left"
        );
        assert_eq!(
            blocks[1]["elements"][0]["text"],
            "Its waiting tasks stay in its queue, or move to another agent if their project names \
             several. After 1 min a few tasks are sent to it as probes. `/bm health box` shows \
             more."
        );
        assert_eq!(
            blocks[2]["elements"],
            json!([{
                "type": "button", "action_id": "breaker_reset", "value": "box",
                "text": { "type": "plain_text", "text": "Reset" },
            }])
        );
    }

    #[test]
    fn once_it_is_over_there_is_nothing_to_press() {
        let mut over = incident();
        over.closed = Some(IncidentEnd {
            at: AT + Duration::from_mins(5),
            by: ClosedBy::Operator,
        });
        let blocks = blocks(&breaker_opened_notice(&agent(), &over));
        assert_eq!(blocks.as_array().unwrap().len(), 2);
        assert_eq!(
            blocks[1]["elements"][0]["text"],
            "The breaker has closed again."
        );
    }

    #[test]
    fn a_closing_says_after_how_long_and_by_whom() {
        let said = |by| {
            let closed = IncidentEnd {
                at: AT + Duration::from_secs(125),
                by,
            };
            let message = breaker_closed_notice(&agent(), &incident(), &closed);
            let text = blocks(&message)[0]["text"]["text"].clone();
            let text = text.as_str().unwrap().to_owned();
            text.split_once(" gets work again ").unwrap().1.to_owned()
        };
        assert_eq!(
            [ClosedBy::Probes(3), ClosedBy::Probes(1), ClosedBy::Operator].map(said),
            [
                "after 2 min 5 s: 3 probes succeeded.",
                "after 2 min 5 s: a probe succeeded.",
                "after 2 min 5 s: an operator reset it."
            ]
        );
    }

    #[test]
    fn a_take_over_names_both_addresses_and_what_to_do() {
        let take_over = TakeOver {
            agent_id: agent(),
            connection_id: "new".parse().unwrap(),
            key_id: Some("3fa94c01".to_owned().try_into().unwrap()),
            from: [192, 0, 2, 1].into(),
            to: [198, 51, 100, 7].into(),
        };
        let message = take_over_notice(&take_over);
        let blocks = blocks(&message);
        assert_eq!(
            blocks[0]["text"]["text"],
            ":warning: `box` is connected from another address\n\
             A connection from `198.51.100.7` with the key `3fa94c01` has replaced one from \
             `192.0.2.1` that was still alive."
        );
        let advice = blocks[1]["elements"][0]["text"].as_str().unwrap();
        assert!(
            advice.contains("`bematic agent revoke box --key 3fa94c01`"),
            "{advice}"
        );
    }
}
