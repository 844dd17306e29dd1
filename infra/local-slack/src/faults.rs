//! The fault plan of tests (rate limits, failures, delays), and the log of recent calls.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;
use serde_json::Value;

/// The number of recent calls that are kept.
const MAX_LOGGED_CALLS: usize = 2_000;
/// Slack's rate limits of the methods here.
const SLACK_RATE_LIMITS: [(&str, RateLimit); 7] = [
    ("chat.postMessage", RateLimit::new(1, 1, true)),
    ("chat.postEphemeral", RateLimit::new(100, 60, false)),
    ("chat.update", RateLimit::new(50, 60, false)),
    ("chat.delete", RateLimit::new(50, 60, false)),
    ("conversations.history", RateLimit::new(50, 60, false)),
    ("conversations.replies", RateLimit::new(50, 60, false)),
    ("users.info", RateLimit::new(100, 60, false)),
];

/// A rate limit: a number of calls within a time window.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateLimit {
    calls: usize,
    secs: u64,
    /// Whether each channel is counted separately.
    #[serde(default)]
    each_channel: bool,
}

impl RateLimit {
    const fn new(calls: usize, secs: u64, each_channel: bool) -> Self {
        Self {
            calls,
            secs,
            each_channel,
        }
    }
}

/// The rate limits, as `POST /control/rate-limits` sets them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RateLimits {
    /// Whether calls are limited: by Slack's own rates, and those of `methods` instead where given.
    enabled: bool,
    #[serde(default)]
    methods: HashMap<String, RateLimit>,
}

/// A fault for the next calls of a method, as `POST /control/faults` adds it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The method; `*` for any.
    pub method: String,
    /// The channel whose calls fail, so that parallel tests are not affected; `None` for any.
    pub channel: Option<String>,
    /// The number of calls that fail; 0 removes the faults of this method and channel.
    #[serde(default = "default_one")]
    pub count: usize,
    /// The HTTP status that replaces the response; 429 has the header of `retry_after`.
    pub status: Option<u16>,
    /// The `Retry-After` of a 429, in seconds.
    #[serde(default = "default_one")]
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

fn default_one<T: From<u8>>() -> T {
    T::from(1)
}

impl Fault {
    /// Returns a fault of one call of `method` that is answered with Slack's `error`.
    pub fn with_error(method: &str, error: &str) -> Self {
        Self {
            method: method.to_owned(),
            count: 1,
            error: Some(error.to_owned()),
            ..Self::default()
        }
    }

    /// Returns a fault of one call of `method` (`*` is any) that is answered with 429 and
    /// `retry_after` seconds to wait.
    pub fn rate_limited(method: &str, retry_after: u64) -> Self {
        Self {
            method: method.to_owned(),
            count: 1,
            status: Some(429),
            retry_after,
            ..Self::default()
        }
    }
}

/// The present faults and rate limits, and the recent calls.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rates: HashMap<String, RateLimit>,
    /// The times of accepted calls, in Unix microseconds, by method and channel.
    accepted: HashMap<(String, String), Vec<u64>>,
    pending: Vec<Fault>,
    /// The newest calls of the Web API, oldest first, as `GET /control/calls` lists them.
    pub(crate) calls: VecDeque<Value>,
}

impl Faults {
    pub(crate) fn set_rate_limits(&mut self, wanted: RateLimits) {
        self.accepted.clear();
        self.rates.clear();
        if wanted.enabled {
            let rates = SLACK_RATE_LIMITS.map(|(method, rate)| (method.to_owned(), rate));
            self.rates.extend(rates);
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
    pub(crate) fn take(&mut self, method: &str, channel: &str) -> Option<Fault> {
        let at = self.pending.iter().position(|fault| {
            let here = fault.channel.as_deref().is_none_or(|it| it == channel);
            here && (fault.method == method || fault.method == "*")
        })?;
        let fault = self.pending.get_mut(at)?;
        fault.count -= 1;
        if fault.count > 0 {
            return Some(fault.clone());
        }
        Some(self.pending.remove(at))
    }

    /// Accepts a call, or returns the seconds after which the caller may try again.
    pub(crate) fn admit(&mut self, method: &str, channel: &str, now: u64) -> Result<(), u64> {
        let Some(rate) = self.rates.get(method) else {
            return Ok(());
        };
        let scope = if rate.each_channel { channel } else { "" };
        let key = (method.to_owned(), scope.to_owned());
        let accepted = self.accepted.entry(key).or_default();
        let window = rate.secs.saturating_mul(1_000_000);
        accepted.retain(|at| at.saturating_add(window) > now);
        if accepted.len() < rate.calls {
            accepted.push(now);
            return Ok(());
        }
        let free_at = accepted.first().map_or(now, |at| at.saturating_add(window));
        Err(free_at.saturating_sub(now).div_ceil(1_000_000).max(1))
    }

    pub(crate) fn record_call(&mut self, call: Value) {
        self.calls.push_back(call);
        if self.calls.len() > MAX_LOGGED_CALLS {
            self.calls.pop_front();
        }
    }
}
