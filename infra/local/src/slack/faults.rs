//! What a test switches on: rate limits, failures, slowness; and the list of calls that came.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Calls that are remembered.
const CALLS: usize = 2_000;
/// Slack's rates that matter here, in calls a minute.
const SLACKS: [(&str, Rate); 7] = [
    (
        "chat.postMessage",
        Rate {
            calls: 1,
            secs: 1,
            each_channel: true,
        },
    ),
    (
        "chat.postEphemeral",
        Rate {
            calls: 100,
            secs: 60,
            each_channel: false,
        },
    ),
    (
        "chat.update",
        Rate {
            calls: 50,
            secs: 60,
            each_channel: false,
        },
    ),
    (
        "chat.delete",
        Rate {
            calls: 50,
            secs: 60,
            each_channel: false,
        },
    ),
    (
        "conversations.history",
        Rate {
            calls: 50,
            secs: 60,
            each_channel: false,
        },
    ),
    (
        "conversations.replies",
        Rate {
            calls: 50,
            secs: 60,
            each_channel: false,
        },
    ),
    (
        "users.info",
        Rate {
            calls: 100,
            secs: 60,
            each_channel: false,
        },
    ),
];

/// So many calls in so many seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rate {
    calls: usize,
    secs: u64,
    /// Counted for each channel apart.
    #[serde(default)]
    each_channel: bool,
}

/// `POST /control/rate-limits`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RateLimits {
    /// Slack's own rates; `false` switches all off.
    enabled: bool,
    /// Rates by method, over Slack's.
    #[serde(default)]
    methods: HashMap<String, Rate>,
}

/// `POST /control/faults`: what the next calls of a method meet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fault {
    /// The method; `*` is any.
    pub(super) method: String,
    /// Only calls about this channel, so that tests beside each other don't meet it.
    #[serde(default)]
    pub(super) channel: Option<String>,
    /// How many calls.
    #[serde(default = "one")]
    pub(super) count: usize,
    /// The HTTP status instead of an answer; 429 comes with `retryAfter`.
    pub(super) status: Option<u16>,
    /// Seconds.
    #[serde(default = "one_second")]
    pub(super) retry_after: u64,
    /// Slack's `error` instead of an answer.
    pub(super) error: Option<String>,
    /// Waited before the answer.
    #[serde(default)]
    pub(super) delay_ms: u64,
    /// The call takes effect, and only its answer is lost.
    #[serde(default)]
    pub(super) after_effect: bool,
}

/// A call that came, for `GET /control/calls`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) channel: Option<String>,
    pub(super) ts: Option<String>,
    /// Unix microseconds.
    pub(super) at: u64,
    /// The HTTP status of the answer.
    pub(super) status: u16,
}

/// What is switched on at the moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rates: HashMap<String, Rate>,
    /// When calls were let through, in Unix microseconds.
    passed: HashMap<(String, String), VecDeque<u64>>,
    pending: Vec<Fault>,
    calls: VecDeque<Call>,
}

impl Faults {
    pub(super) fn set_rates(&mut self, wanted: RateLimits) {
        self.passed.clear();
        self.rates.clear();
        if wanted.enabled {
            self.rates
                .extend(SLACKS.map(|(method, rate)| (method.to_owned(), rate)));
            self.rates.extend(wanted.methods);
        }
    }

    /// Adds a fault; one with a count of 0 takes those of its method and channel away.
    pub(super) fn add(&mut self, fault: Fault) {
        if fault.count == 0 {
            self.pending
                .retain(|known| known.method != fault.method || known.channel != fault.channel);
        } else {
            self.pending.push(fault);
        }
    }

    /// The fault that this call meets, counted down.
    pub(super) fn meet(&mut self, method: &str, channel: Option<&str>) -> Option<Fault> {
        let at = self.pending.iter().position(|fault| {
            let here = fault.channel.is_none() || fault.channel.as_deref() == channel;
            here && (fault.method == method || fault.method == "*")
        })?;
        let fault = self.pending.get_mut(at)?;
        fault.count -= 1;
        let met = fault.clone();
        if met.count == 0 {
            self.pending.remove(at);
        }
        Some(met)
    }

    /// Lets a call through, or says after how many seconds to come again.
    pub(super) fn admit(&mut self, method: &str, channel: &str, now: u64) -> Result<(), u64> {
        let Some(rate) = self.rates.get(method) else {
            return Ok(());
        };
        let scope = if rate.each_channel { channel } else { "" };
        let passed = self
            .passed
            .entry((method.to_owned(), scope.to_owned()))
            .or_default();
        let window = rate.secs.saturating_mul(1_000_000);
        while passed
            .front()
            .is_some_and(|at| at.saturating_add(window) <= now)
        {
            passed.pop_front();
        }
        if passed.len() < rate.calls {
            passed.push_back(now);
            return Ok(());
        }
        let free_at = passed.front().map_or(now, |at| at.saturating_add(window));
        Err(free_at.saturating_sub(now).div_ceil(1_000_000).max(1))
    }

    pub(super) fn record(&mut self, call: Call) {
        self.calls.push_back(call);
        if self.calls.len() > CALLS {
            self.calls.pop_front();
        }
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }
}

fn one() -> usize {
    1
}

fn one_second() -> u64 {
    1
}
