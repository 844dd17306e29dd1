//! The fault plan of a run: its agents are interrupted and Slack fails, now and then.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::agent::{Interruption, RunningAgent};
use super::options::Options;
use super::world::World;

/// Interruptions of an agent in the time of the run, on average.
const INTERRUPTIONS: u32 = 3;
/// The probability that an interruption kills; the others only cut the connection.
const KILLS: f64 = 0.4;
/// Milliseconds that an agent is away. It is not interrupted meanwhile.
const AWAY: Range<u64> = 500..8000;
/// How often Slack fails a few calls.
const SLACK_EVERY: Duration = Duration::from_secs(7);
/// The methods that fail, in the words of Slack's `/control/faults`.
const SLACK_METHODS: [&str; 2] = ["chat.postMessage", "chat.update"];

/// The fault plan.
pub(super) struct FaultPlan {
    rng: StdRng,
    /// The time of each agent's next interruption.
    interruptions: Vec<Timestamp>,
    /// The time of Slack's next fault.
    next_slack_fault: Timestamp,
    /// The range of the pauses between two interruptions of an agent, in milliseconds.
    pauses: Range<u64>,
}

impl FaultPlan {
    pub(super) fn new(options: &Options, mut rng: StdRng) -> Self {
        let now = SystemClock.now();
        let mean = (options.time() / INTERRUPTIONS).as_millis();
        let pauses = 0..2 * u64::try_from(mean).unwrap_or(u64::MAX / 2).max(1);
        let interruptions = (0..options.agents)
            .map(|_| now + Duration::from_millis(rng.random_range(pauses.clone())))
            .collect();
        Self {
            rng,
            interruptions,
            next_slack_fault: now + SLACK_EVERY,
            pauses,
        }
    }

    /// Injects the faults that are due.
    pub(super) async fn inject(
        &mut self,
        world: &World,
        agents: &[RunningAgent],
        now: Timestamp,
    ) -> Result<()> {
        let rng = &mut self.rng;
        for (agent, at) in agents.iter().zip(&mut self.interruptions) {
            if *at <= now {
                agent.interrupt(Interruption {
                    away: Duration::from_millis(rng.random_range(AWAY)),
                    kill: rng.random_bool(KILLS),
                    url: None,
                });
                let pause = AWAY.end + rng.random_range(self.pauses.clone());
                *at = now + Duration::from_millis(pause);
            }
        }
        if self.next_slack_fault <= now {
            self.next_slack_fault = now + SLACK_EVERY;
            let method = SLACK_METHODS[rng.random_range(0..SLACK_METHODS.len())];
            let fault = slack_fault(rng, method);
            send(world, &fault).await?;
        }
        Ok(())
    }
}

/// A rate limit, an error, or a call that takes effect without an answer.
fn slack_fault(rng: &mut StdRng, method: &str) -> Value {
    let count = rng.random_range(1..4);
    match rng.random_range(0..3) {
        0 => json!({ "method": method, "count": count, "status": 429, "retryAfter": 2 }),
        1 => json!({ "method": method, "count": count, "status": 503 }),
        _ => json!({ "method": method, "count": count, "status": 503, "afterEffect": true }),
    }
}

/// Takes back the faults of Slack that are still to come.
pub(super) async fn end(world: &World) -> Result<()> {
    for method in SLACK_METHODS {
        send(world, &json!({ "method": method, "count": 0 })).await?;
    }
    Ok(())
}

async fn send(world: &World, fault: &Value) -> Result<()> {
    let url = format!("{}/control/faults", world.stack.slack_url);
    let sent = world.http.post(url).json(fault).send().await;
    sent.and_then(reqwest::Response::error_for_status)
        .context("the local Slack takes no faults")
        .map(drop)
}
