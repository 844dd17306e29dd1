//! The environment variables that `template.yaml` gives a function, parsed once at start. A
//! missing or invalid variable is an error that names the variable.

use std::{collections::HashMap, time::Duration};

use bematic::{
    breaker::BreakerConfig, dead_letter::QueueName, error::ConfigError, ports::Settings,
    task::TaskPolicy,
};
use bematic_protocol::ids::{ChannelId, InvalidId};
use garde::Validate as _;

/// Environment variables by name.
#[derive(Debug, Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Returns the environment variables of this process.
    pub fn of_process() -> Self {
        std::env::vars().collect()
    }

    /// Returns a variable that must be set.
    ///
    /// # Errors
    /// [`ConfigError`] if it is missing or empty.
    pub fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.get(name)
            .map(ToOwned::to_owned)
            .ok_or_else(|| ConfigError {
                name,
                problem: "is missing or empty".into(),
            })
    }

    /// Returns a variable, trimmed, unless it is missing or empty.
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// Returns a variable as a number, or the default.
    fn number_or(&self, name: &'static str, default: u64) -> Result<u64, ConfigError> {
        self.get(name).map_or(Ok(default), |value| {
            value.parse().map_err(|_| ConfigError {
                name,
                problem: format!("is not a whole number: {value}"),
            })
        })
    }

    /// Returns a variable as a number of at most 32 bits, or the default.
    fn count_or(&self, name: &'static str, default: u32) -> Result<u32, ConfigError> {
        let number = self.number_or(name, default.into())?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The URLs of a queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub struct QueueUrls {
    /// The queue's URL.
    pub source: String,
    /// The dead-letter queue's URL.
    pub dead_letters: String,
}

/// A function's configuration: its tables, queues and endpoint, and the deployment's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of the tasks table.
    pub tasks_table: String,
    /// The name of the agents table.
    pub agents_table: String,
    /// The dispatcher's queue.
    pub dispatch: QueueUrls,
    /// The notifier's queue.
    pub notifications: QueueUrls,
    /// The queue of bulk operations.
    pub batch: QueueUrls,
    /// Receives of a message after which the function moves it to the dead-letter queue.
    pub max_receives: u32,
    /// The stage's management endpoint, `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    pub management_url: String,
    /// The deployment's settings.
    pub settings: Settings,
}

impl Config {
    /// Parses the configuration. Required are `TASKS_TABLE`, `AGENTS_TABLE`, each queue's
    /// `…_QUEUE_URL` and `…_DEAD_LETTERS_URL`, and `WEBSOCKET_MANAGEMENT_URL`. `MAX_RECEIVES`,
    /// `OPERATIONS_CHANNEL` and the variables of [`task_policy`] and [`breaker_config`] have
    /// defaults.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable that is missing or invalid.
    pub fn read(env: &Environment) -> Result<Self, ConfigError> {
        let urls = |source, dead_letters| {
            Ok(QueueUrls {
                source: env.required(source)?,
                dead_letters: env.required(dead_letters)?,
            })
        };
        Ok(Self {
            tasks_table: env.required("TASKS_TABLE")?,
            agents_table: env.required("AGENTS_TABLE")?,
            dispatch: urls("DISPATCH_QUEUE_URL", "DISPATCH_DEAD_LETTERS_URL")?,
            notifications: urls("NOTIFICATIONS_QUEUE_URL", "NOTIFICATIONS_DEAD_LETTERS_URL")?,
            batch: urls("BATCH_QUEUE_URL", "BATCH_DEAD_LETTERS_URL")?,
            max_receives: env.count_or("MAX_RECEIVES", 10)?,
            management_url: env.required("WEBSOCKET_MANAGEMENT_URL")?,
            settings: Settings {
                policy: task_policy(env)?,
                breaker: breaker_config(env)?,
                operations_channel: operations_channel(env)?,
            },
        })
    }

    /// Returns a queue's URLs.
    pub const fn queue(&self, name: QueueName) -> &QueueUrls {
        match name {
            QueueName::Dispatch => &self.dispatch,
            QueueName::Notifications => &self.notifications,
            QueueName::Batch => &self.batch,
        }
    }
}

/// Parses the numbers of the task life cycle: `TASK_ATTEMPTS`, `DRAIN_BATCH` and, in seconds,
/// `TASK_ACK_SECONDS`, `TASK_LEASE_SECONDS`, `TASK_CANCEL_SECONDS` and `TASK_WAIT_SECONDS`. The
/// other numbers of [`TaskPolicy`] are constants.
fn task_policy(env: &Environment) -> Result<TaskPolicy, ConfigError> {
    let seconds = |name, default: Duration| {
        env.number_or(name, default.as_secs())
            .map(Duration::from_secs)
    };
    let default = TaskPolicy::default();
    let attempts = env.count_or("TASK_ATTEMPTS", default.max_attempts)?;
    let batch = env.number_or("DRAIN_BATCH", 10)?;
    Ok(TaskPolicy {
        max_attempts: attempts,
        dispatch_limit: usize::try_from(batch)
            .unwrap_or(default.dispatch_limit)
            .max(1),
        ack_deadline: seconds("TASK_ACK_SECONDS", default.ack_deadline)?,
        lease: seconds("TASK_LEASE_SECONDS", default.lease)?,
        cancel_deadline: seconds("TASK_CANCEL_SECONDS", default.cancel_deadline)?,
        wait: seconds("TASK_WAIT_SECONDS", default.wait)?,
        ..default
    })
}

/// Parses the settings of breakers without settings of their own: `BREAKER_FAILURE_PERCENT`,
/// `BREAKER_MINIMUM_OUTCOMES`, `BREAKER_SUCCESSES`, `BREAKER_CONSECUTIVE_FAILURES`,
/// `BREAKER_SLOW_PERCENT` and, in seconds, `BREAKER_WINDOW_SECONDS`, `BREAKER_RECOVERY_SECONDS`,
/// `BREAKER_PERMIT_SECONDS` and `BREAKER_SLOW_SECONDS`.
fn breaker_config(env: &Environment) -> Result<BreakerConfig, ConfigError> {
    let default = BreakerConfig::default();
    let count = |name, default| env.count_or(name, default);
    let millis = |name, default: u64| {
        env.number_or(name, default / 1000)
            .map(|seconds| seconds.saturating_mul(1000))
    };
    let config = BreakerConfig {
        failure_threshold_percentage: count(
            "BREAKER_FAILURE_PERCENT",
            default.failure_threshold_percentage,
        )?,
        minimum_request_count: count("BREAKER_MINIMUM_OUTCOMES", default.minimum_request_count)?,
        window_size_ms: millis("BREAKER_WINDOW_SECONDS", default.window_size_ms)?,
        recovery_timeout_ms: millis("BREAKER_RECOVERY_SECONDS", default.recovery_timeout_ms)?,
        success_threshold_count: count("BREAKER_SUCCESSES", default.success_threshold_count)?,
        half_open_permit_lease_ms: millis(
            "BREAKER_PERMIT_SECONDS",
            default.half_open_permit_lease_ms,
        )?,
        consecutive_failure_threshold: count(
            "BREAKER_CONSECUTIVE_FAILURES",
            default.consecutive_failure_threshold,
        )?,
        slow_call_duration_ms: millis("BREAKER_SLOW_SECONDS", default.slow_call_duration_ms)?,
        slow_call_threshold_percentage: count(
            "BREAKER_SLOW_PERCENT",
            default.slow_call_threshold_percentage,
        )?,
    };
    in_range(config)
}

/// Checks that each setting is within its range. The error names the variable of the first that
/// is not.
fn in_range(config: BreakerConfig) -> Result<BreakerConfig, ConfigError> {
    let Err(report) = config.validate() else {
        return Ok(config);
    };
    let first = report.iter().next();
    let (field, why) = first.map_or_else(<_>::default, |(path, error)| {
        (path.to_string(), error.to_string())
    });
    let (name, unit) = match field.as_str() {
        "failure_threshold_percentage" => ("BREAKER_FAILURE_PERCENT", ""),
        "minimum_request_count" => ("BREAKER_MINIMUM_OUTCOMES", ""),
        "window_size_ms" => ("BREAKER_WINDOW_SECONDS", " ms"),
        "recovery_timeout_ms" => ("BREAKER_RECOVERY_SECONDS", " ms"),
        "success_threshold_count" => ("BREAKER_SUCCESSES", ""),
        "half_open_permit_lease_ms" => ("BREAKER_PERMIT_SECONDS", " ms"),
        "slow_call_duration_ms" => ("BREAKER_SLOW_SECONDS", " ms"),
        "slow_call_threshold_percentage" => ("BREAKER_SLOW_PERCENT", ""),
        _ => ("BREAKER_…", ""),
    };
    Err(ConfigError {
        name,
        problem: format!("is out of range: {why}{unit}"),
    })
}

/// Parses the channel for notices of circuit breakers, `OPERATIONS_CHANNEL`; `None` if that is
/// empty.
fn operations_channel(env: &Environment) -> Result<Option<ChannelId>, ConfigError> {
    const NAME: &str = "OPERATIONS_CHANNEL";
    let parsed = env.get(NAME).map(str::parse).transpose();
    parsed.map_err(|problem: InvalidId| ConfigError {
        name: NAME,
        problem: problem.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Invalidate = fn(&mut BreakerConfig);

    #[test]
    fn breaker_settings_out_of_range_are_refused_with_the_name_of_their_variable() {
        const TOO_LONG: u64 = u64::MAX;
        let set: [(&str, Invalidate); 8] = [
            ("FAILURE_PERCENT", |it| {
                it.failure_threshold_percentage = 101;
            }),
            ("MINIMUM_OUTCOMES", |it| it.minimum_request_count = 0),
            ("WINDOW_SECONDS", |it| it.window_size_ms = 0),
            ("RECOVERY_SECONDS", |it| it.recovery_timeout_ms = TOO_LONG),
            ("SUCCESSES", |it| it.success_threshold_count = 0),
            ("PERMIT_SECONDS", |it| {
                it.half_open_permit_lease_ms = TOO_LONG;
            }),
            ("SLOW_SECONDS", |it| it.slow_call_duration_ms = TOO_LONG),
            ("SLOW_PERCENT", |it| it.slow_call_threshold_percentage = 0),
        ];
        for (variable, invalidate) in set {
            let mut config = BreakerConfig::default();
            assert_eq!(in_range(config), Ok(config));
            invalidate(&mut config);
            let error = in_range(config).unwrap_err();
            assert_eq!(error.name, format!("BREAKER_{variable}"), "{error}");
            assert!(error.problem.contains("than"), "{error}");
        }
    }

    fn environment(extra: &[(&str, &str)]) -> Environment {
        let names = [
            "TASKS_TABLE",
            "AGENTS_TABLE",
            "DISPATCH_QUEUE_URL",
            "DISPATCH_DEAD_LETTERS_URL",
            "NOTIFICATIONS_QUEUE_URL",
            "NOTIFICATIONS_DEAD_LETTERS_URL",
            "BATCH_QUEUE_URL",
            "BATCH_DEAD_LETTERS_URL",
            "WEBSOCKET_MANAGEMENT_URL",
        ];
        let all = names
            .iter()
            .map(|name| (*name, *name))
            .chain(extra.iter().copied());
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn a_missing_or_invalid_variable_is_named() {
        assert!(Config::read(&environment(&[])).is_ok());
        for (name, value) in [
            ("BATCH_QUEUE_URL", " "),
            ("MAX_RECEIVES", "many"),
            ("TASK_ACK_SECONDS", "-1"),
            ("OPERATIONS_CHANNEL", "#operations"),
        ] {
            let error = Config::read(&environment(&[(name, value)])).unwrap_err();
            assert_eq!(error.name, name, "{error}");
        }
    }
}
