//! The fault plan of a run: its agents are interrupted and Slack fails, now and then.

use std::ops::Range;
use std::time::Duration;

use local_slack::{Fault, Slack};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::agent::{AgentHandle, Interruption};

/// Interruptions of an agent in the time of the run, on average.
const INTERRUPTIONS_PER_AGENT: u32 = 3;
/// The probability that an interruption kills; the others only cut the connection.
const KILL_PROBABILITY: f64 = 0.4;
/// Milliseconds that an agent is away. It is not interrupted meanwhile.
const AWAY_MILLIS: Range<u64> = 500..8000;
/// How often Slack fails a few calls.
const SLACK_FAULT_INTERVAL: Duration = Duration::from_secs(7);
/// The methods of Slack's Web API that fail.
const SLACK_METHODS: [&str; 2] = ["chat.postMessage", "chat.update"];

/// Interrupts an agent now and then, in a run of this length.
pub(super) async fn interrupt_repeatedly(agent: &AgentHandle, run: Duration, mut rng: StdRng) {
    let mean = u64::try_from((run / INTERRUPTIONS_PER_AGENT).as_millis()).unwrap_or(u64::MAX / 2);
    let pauses = 0..2 * mean.max(1);
    let mut pause = rng.random_range(pauses.clone());
    loop {
        sleep(Duration::from_millis(pause)).await;
        agent.interrupt(Interruption {
            away: Duration::from_millis(rng.random_range(AWAY_MILLIS)),
            kill: rng.random_bool(KILL_PROBABILITY),
            url: None,
        });
        pause = AWAY_MILLIS.end + rng.random_range(pauses.clone());
    }
}

/// Has Slack fail a few calls now and then: by a rate limit, an error, or an effect without an answer.
pub(super) async fn fail_slack_repeatedly(slack: &Slack, mut rng: StdRng) {
    loop {
        sleep(SLACK_FAULT_INTERVAL).await;
        let method = SLACK_METHODS[rng.random_range(0..SLACK_METHODS.len())];
        let count = rng.random_range(1..4);
        let (status, after_effect) = match rng.random_range(0..3) {
            0 => (429, false),
            1 => (503, false),
            _ => (503, true),
        };
        slack.add_fault(Fault {
            method: method.to_owned(),
            count,
            status: Some(status),
            retry_after: 2,
            after_effect,
            ..Fault::default()
        });
    }
}

/// Takes back the faults of Slack that are still to come.
pub(super) fn repair_slack(slack: &Slack) {
    for method in SLACK_METHODS {
        slack.add_fault(Fault {
            method: method.to_owned(),
            count: 0,
            ..Fault::default()
        });
    }
}
