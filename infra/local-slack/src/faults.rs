//! The fault plan of tests (rate limits, failures, delays), and the log of recent calls.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// The number of recent calls that are kept.
const CALLS: usize = 2_000;
/// Slack's rate limits of the methods here: method, calls, seconds, and whether each channel is
/// counted separately.
const SLACK_RATES: [(&str, usize, u64, bool); 7] = [
    ("chat.postMessage", 1, 1, true),
    ("chat.postEphemeral", 100, 60, false),
    ("chat.update", 50, 60, false),
    ("chat.delete", 50, 60, false),
    ("conversations.history", 50, 60, false),
    ("conversations.replies", 50, 60, false),
    ("users.info", 100, 60, false),
];

/// A rate limit: a number of calls within a time window.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// The calls that are accepted in the window.
    pub calls: usize,
    /// The window, in seconds.
    pub secs: u64,
    /// Whether each channel is counted separately.
    #[serde(default)]
    pub each_channel: bool,
}

/// The rate limits, as `POST /control/rate-limits` sets them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimits {
    /// Whether calls are limited: by Slack's own rates, and those of `methods` instead where given.
    pub enabled: bool,
    /// The rates by method.
    #[serde(default)]
    pub methods: HashMap<String, Rate>,
}

/// A fault for the next calls of a method, as `POST /control/faults` adds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The method; `*` for any.
    pub method: String,
    /// The channel whose calls fail, so that parallel tests are not affected; `None` for any.
    #[serde(default)]
    pub channel: Option<String>,
    /// The number of calls that fail; 0 removes the faults of this method and channel.
    #[serde(default = "one")]
    pub count: usize,
    /// The HTTP status that replaces the response; 429 has the header of `retry_after`.
    pub status: Option<u16>,
    /// The `Retry-After` of a 429, in seconds.
    #[serde(default = "one")]
    pub retry_after: u64,
    /// Slack's `error` that replaces the response.
    pub error: Option<String>,
    /// The wait before the response, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// Whether the call takes effect, and only its response is lost.
    #[serde(default)]
    pub after_effect: bool,
}

impl Fault {
    /// Returns a fault of one call of `method` (`*` is any) that Slack refuses with `error`.
    pub fn error(method: &str, error: &str) -> Self {
        Self {
            method: method.to_owned(),
            channel: None,
            count: one(),
            status: None,
            retry_after: one(),
            error: Some(error.to_owned()),
            delay_ms: 0,
            after_effect: false,
        }
    }

    /// Returns a fault of one call that is answered with an HTTP status and no JSON.
    pub fn status(method: &str, status: u16) -> Self {
        Self {
            status: Some(status),
            error: None,
            ..Self::error(method, "")
        }
    }

    /// Returns a fault of one call that is answered with 429 and `retry_after` seconds to wait.
    pub fn rate_limited(method: &str, retry_after: u64) -> Self {
        Self {
            retry_after,
            ..Self::status(method, 429)
        }
    }

    /// Limits the fault to calls about one channel.
    #[must_use]
    pub fn in_channel(self, channel: &str) -> Self {
        Self {
            channel: Some(channel.to_owned()),
            ..self
        }
    }

    /// Repeats the fault for `count` calls.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// Has the call take effect, so that only its response is lost.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self {
            after_effect: true,
            ..self
        }
    }
}

/// A call of the Web API, as `GET /control/calls` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The method.
    pub method: String,
    /// The channel that the call names.
    pub channel: Option<String>,
    /// The message that the call names.
    pub ts: Option<String>,
    /// The time of the response, in Unix microseconds.
    pub at: u64,
    /// The HTTP status of the response.
    pub status: u16,
}

/// The present faults and rate limits, and the recent calls.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rates: HashMap<String, Rate>,
    /// The times of accepted calls, in Unix microseconds, by method and channel.
    accepted: HashMap<(String, String), VecDeque<u64>>,
    pending: Vec<Fault>,
    calls: VecDeque<Call>,
}

impl Faults {
    pub(crate) fn set_rates(&mut self, wanted: RateLimits) {
        self.accepted.clear();
        self.rates.clear();
        if wanted.enabled {
            self.rates
                .extend(SLACK_RATES.map(|(method, calls, secs, each_channel)| {
                    let rate = Rate {
                        calls,
                        secs,
                        each_channel,
                    };
                    (method.to_owned(), rate)
                }));
            self.rates.extend(wanted.methods);
        }
    }

    /// Adds a fault; one with a count of 0 removes those of its method and channel.
    pub(crate) fn add(&mut self, fault: Fault) {
        if fault.count == 0 {
            self.pending
                .retain(|known| known.method != fault.method || known.channel != fault.channel);
        } else {
            self.pending.push(fault);
        }
    }

    /// Returns the fault of a call, if there is one, and counts it.
    pub(crate) fn take(&mut self, method: &str, channel: Option<&str>) -> Option<Fault> {
        let at = self.pending.iter().position(|fault| {
            let here = fault.channel.is_none() || fault.channel.as_deref() == channel;
            here && (fault.method == method || fault.method == "*")
        })?;
        let fault = self.pending.get_mut(at)?;
        fault.count -= 1;
        let taken = fault.clone();
        if taken.count == 0 {
            self.pending.remove(at);
        }
        Some(taken)
    }

    /// Accepts a call, or returns the seconds after which the caller may try again.
    pub(crate) fn admit(&mut self, method: &str, channel: &str, now: u64) -> Result<(), u64> {
        let Some(rate) = self.rates.get(method) else {
            return Ok(());
        };
        let scope = if rate.each_channel { channel } else { "" };
        let accepted = self
            .accepted
            .entry((method.to_owned(), scope.to_owned()))
            .or_default();
        let window = rate.secs.saturating_mul(1_000_000);
        while accepted
            .front()
            .is_some_and(|at| at.saturating_add(window) <= now)
        {
            accepted.pop_front();
        }
        if accepted.len() < rate.calls {
            accepted.push_back(now);
            return Ok(());
        }
        let free_at = accepted.front().map_or(now, |at| at.saturating_add(window));
        Err(free_at.saturating_sub(now).div_ceil(1_000_000).max(1))
    }

    pub(crate) fn record(&mut self, call: Call) {
        self.calls.push_back(call);
        if self.calls.len() > CALLS {
            self.calls.pop_front();
        }
    }

    pub(crate) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls).into()
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }
}

fn one<T: From<u8>>() -> T {
    T::from(1)
}
