//! What a run does to its agents and to Slack, now and then.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::agent::{Blow, RunningAgent};
use super::options::Options;
use super::world::World;

/// Blows that an agent gets in the time of the run, on average.
const BLOWS: u32 = 3;
/// A blow of so many kills; the others only cut the connection.
const KILLS: f64 = 0.4;
/// Milliseconds that an agent is away.
const AWAY: std::ops::Range<u64> = 500..8000;
/// How often Slack fails a few calls.
const SLACK_EVERY: Duration = Duration::from_secs(7);
/// What Slack does then, in the words of its `/control/faults`.
const SLACK_METHODS: [&str; 2] = ["chat.postMessage", "chat.update"];

/// Makes trouble.
pub(super) struct Trouble {
    rng: StdRng,
    /// When each agent is struck next.
    blows: Vec<Timestamp>,
    slack: Timestamp,
    between_blows: u64,
}

impl Trouble {
    pub(super) fn new(options: &Options, mut rng: StdRng) -> Self {
        let now = SystemClock.now();
        let between = options.time / BLOWS;
        let between_blows = u64::try_from(between.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let blows = (0..options.agents)
            .map(|_| now + Duration::from_millis(rng.random_range(0..2 * between_blows)))
            .collect();
        Self {
            rng,
            blows,
            slack: now + SLACK_EVERY,
            between_blows,
        }
    }

    /// Makes what is due.
    pub(super) async fn make(
        &mut self,
        world: &World,
        agents: &[RunningAgent],
        now: Timestamp,
    ) -> Result<()> {
        for (agent, at) in agents.iter().zip(&mut self.blows) {
            if *at <= now {
                agent.strike(blow(&mut self.rng));
                let pause = self.rng.random_range(0..2 * self.between_blows);
                *at = now + AWAY_AT_MOST + Duration::from_millis(pause);
            }
        }
        if self.slack <= now {
            self.slack = now + SLACK_EVERY;
            let method = SLACK_METHODS[self.rng.random_range(0..SLACK_METHODS.len())];
            fault(world, &slack_fault(&mut self.rng, method)).await?;
        }
        Ok(())
    }
}

/// An agent is not struck while it is away.
const AWAY_AT_MOST: Duration = Duration::from_millis(AWAY.end);

fn blow(rng: &mut StdRng) -> Blow {
    let away = Duration::from_millis(rng.random_range(AWAY));
    if rng.random_bool(KILLS) {
        Blow::Kill { away }
    } else {
        Blow::Drop { away }
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

/// Takes back what Slack has still to fail.
pub(super) async fn end(world: &World) -> Result<()> {
    for method in SLACK_METHODS {
        fault(world, &json!({ "method": method, "count": 0 })).await?;
    }
    Ok(())
}

async fn fault(world: &World, fault: &Value) -> Result<()> {
    let url = format!("{}/control/faults", world.stack().slack_url);
    let sent = world.http().post(url).json(fault).send().await;
    sent.and_then(reqwest::Response::error_for_status)
        .context("the local Slack takes no faults")
        .map(drop)
}
