//! The environment variables that `template.yaml` gives a function, parsed once at start. A
//! missing or invalid variable is an error that names the variable.

use std::{collections::HashMap, str::FromStr, time::Duration};

use bematic::{
    access::{AccessSettings, RequestLimits},
    audit::AuditRetention,
    breaker::BreakerConfig,
    dead_letter::QueueName,
    error::ConfigError,
    ports::Settings,
    task::TaskPolicy,
};
use bematic_protocol::ids::InvalidId;
use garde::Validate as _;

/// Environment variables by name.
#[derive(Debug, Clone, Default)]
pub struct EnvVars(HashMap<String, String>);

impl EnvVars {
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

    /// Returns a variable that is `true` or `false`, or the default.
    fn flag_or(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.get(name).map_or(Ok(default), |value| {
            value.parse().map_err(|_| ConfigError {
                name,
                problem: format!("is neither true nor false: {value}"),
            })
        })
    }

    /// Returns the parts of a variable that are separated by commas; none if it is not set.
    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let parts = self.get(name).unwrap_or_default().split(',');
        parts.map(str::trim).filter(|it| !it.is_empty())
    }

    /// Returns a variable as a number, or the default.
    fn number_or<N: FromStr>(&self, name: &'static str, default: N) -> Result<N, ConfigError> {
        self.get(name).map_or(Ok(default), |value| {
            value.parse().map_err(|_| ConfigError {
                name,
                problem: format!("is not a whole number, or is too large: {value}"),
            })
        })
    }
}

impl FromIterator<(String, String)> for EnvVars {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The URLs of a queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub struct QueueUrlPair {
    /// The queue's URL.
    pub source: String,
    /// The dead-letter queue's URL.
    pub dead_letters: String,
}

/// The variable with the name of the table of API keys, of the functions that authenticate agents.
pub(crate) const KEYS_TABLE: &str = "KEYS_TABLE";

/// A function's configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) tasks_table: String,
    pub(crate) agents_table: String,
    /// The table of API keys; `None` in a function that may not reach them.
    pub(crate) keys_table: Option<String>,
    pub(crate) dispatch: QueueUrlPair,
    pub(crate) notifications: QueueUrlPair,
    pub(crate) batch: QueueUrlPair,
    /// Receives of a message after which the function moves it to the dead-letter queue.
    pub(crate) max_receives: u32,
    /// The stage's management endpoint, `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    pub(crate) management_url: String,
    pub(crate) settings: Settings,
}

impl Config {
    /// Parses the configuration. The error names the first variable that is missing or invalid.
    pub(crate) fn read(env: &EnvVars) -> Result<Self, ConfigError> {
        const OPERATIONS_CHANNEL: &str = "OPERATIONS_CHANNEL";
        let urls = |source, dead_letters| {
            Ok(QueueUrlPair {
                source: env.required(source)?,
                dead_letters: env.required(dead_letters)?,
            })
        };
        Ok(Self {
            tasks_table: env.required("TASKS_TABLE")?,
            agents_table: env.required("AGENTS_TABLE")?,
            keys_table: env.get(KEYS_TABLE).map(ToOwned::to_owned),
            dispatch: urls("DISPATCH_QUEUE_URL", "DISPATCH_DEAD_LETTERS_URL")?,
            notifications: urls("NOTIFICATIONS_QUEUE_URL", "NOTIFICATIONS_DEAD_LETTERS_URL")?,
            batch: urls("BATCH_QUEUE_URL", "BATCH_DEAD_LETTERS_URL")?,
            max_receives: env.number_or("MAX_RECEIVES", 10)?,
            management_url: env.required("WEBSOCKET_MANAGEMENT_URL")?,
            settings: Settings {
                policy: task_policy(env)?,
                breaker: breaker_config(env)?,
                allows_in_band_authentication: env.flag_or("IN_BAND_AUTHENTICATION", true)?,
                operations_channel: env
                    .get(OPERATIONS_CHANNEL)
                    .map(str::parse)
                    .transpose()
                    .map_err(|problem: InvalidId| ConfigError {
                        name: OPERATIONS_CHANNEL,
                        problem: problem.to_string(),
                    })?,
                access: access_settings(env)?,
                limits: request_limits(env)?,
                audit_retention: audit_retention(env)?,
            },
        })
    }

    pub(crate) const fn queue_urls(&self, name: QueueName) -> &QueueUrlPair {
        match name {
            QueueName::Dispatch => &self.dispatch,
            QueueName::Notifications => &self.notifications,
            QueueName::Batch => &self.batch,
        }
    }
}

/// Parses the numbers of the task life cycle. The other numbers of [`TaskPolicy`] are constants.
fn task_policy(env: &EnvVars) -> Result<TaskPolicy, ConfigError> {
    let seconds = |name, default: Duration| {
        env.number_or(name, default.as_secs())
            .map(Duration::from_secs)
    };
    let default = TaskPolicy::default();
    Ok(TaskPolicy {
        max_attempts: env.number_or("TASK_ATTEMPTS", default.max_attempts)?,
        dispatch_limit: env.number_or("DRAIN_BATCH", 10)?.max(1),
        ack_deadline: seconds("TASK_ACK_SECONDS", default.ack_deadline)?,
        lease: seconds("TASK_LEASE_SECONDS", default.lease)?,
        cancel_deadline: seconds("TASK_CANCEL_SECONDS", default.cancel_deadline)?,
        wait: seconds("TASK_WAIT_SECONDS", default.wait)?,
        ..default
    })
}

/// Parses who may do what.
fn access_settings(env: &EnvVars) -> Result<AccessSettings, ConfigError> {
    const ADMINS: &str = "FIRST_ADMINS";
    const ROLE: &str = "DEFAULT_ROLE";
    let invalid = |name, problem: String| ConfigError { name, problem };
    let admins = env.list(ADMINS).map(str::parse);
    let admins = admins.collect::<Result<_, InvalidId>>();
    let default = AccessSettings::default();
    let role = env.get(ROLE).map_or(Ok(default.default_role), str::parse);
    Ok(AccessSettings {
        teams: env.list("SLACK_TEAM_ID").map(ToOwned::to_owned).collect(),
        app: env.get("SLACK_APP_ID").map(ToOwned::to_owned),
        first_admins: admins.map_err(|problem| invalid(ADMINS, problem.to_string()))?,
        default_role: role.map_err(|_| {
            let roles = "is none of none, viewer, operator and admin".to_owned();
            invalid(ROLE, roles)
        })?,
    })
}

/// Parses the limits of what people may ask for.
fn request_limits(env: &EnvVars) -> Result<RequestLimits, ConfigError> {
    let default = RequestLimits::default();
    Ok(RequestLimits {
        tasks_per_user_and_hour: env
            .number_or("TASKS_PER_USER_HOUR", default.tasks_per_user_and_hour)?,
        tasks_in_queue: env.number_or("AGENT_QUEUE_LENGTH", default.tasks_in_queue)?,
    })
}

/// Parses how long records of the audit log are kept.
fn audit_retention(env: &EnvVars) -> Result<AuditRetention, ConfigError> {
    let days = |name| match env.get(name) {
        Some(_) => env.number_or(name, 0).map(Some),
        None => Ok(None),
    };
    Ok(AuditRetention::from_days(
        days("AUDIT_DAYS")?,
        days("SECURITY_AUDIT_DAYS")?,
    ))
}

/// A breaker setting, to be changed in place.
enum BreakerSettingMut<'a> {
    Number(&'a mut u32),
    /// A time, whose variable is in seconds.
    Millis(&'a mut u64),
}

type SelectBreakerSetting = fn(&mut BreakerConfig) -> BreakerSettingMut<'_>;

/// The variables of the settings of breakers that have none of their own.
const BREAKER_VARIABLES: [(&str, SelectBreakerSetting); 9] = [
    ("BREAKER_FAILURE_PERCENT", |it| {
        BreakerSettingMut::Number(&mut it.failure_threshold_percentage)
    }),
    ("BREAKER_MINIMUM_OUTCOMES", |it| {
        BreakerSettingMut::Number(&mut it.minimum_request_count)
    }),
    ("BREAKER_WINDOW_SECONDS", |it| {
        BreakerSettingMut::Millis(&mut it.window_size_ms)
    }),
    ("BREAKER_RECOVERY_SECONDS", |it| {
        BreakerSettingMut::Millis(&mut it.recovery_timeout_ms)
    }),
    ("BREAKER_SUCCESSES", |it| {
        BreakerSettingMut::Number(&mut it.success_threshold_count)
    }),
    ("BREAKER_PERMIT_SECONDS", |it| {
        BreakerSettingMut::Millis(&mut it.half_open_permit_lease_ms)
    }),
    ("BREAKER_CONSECUTIVE_FAILURES", |it| {
        BreakerSettingMut::Number(&mut it.consecutive_failure_threshold)
    }),
    ("BREAKER_SLOW_SECONDS", |it| {
        BreakerSettingMut::Millis(&mut it.slow_call_duration_ms)
    }),
    ("BREAKER_SLOW_PERCENT", |it| {
        BreakerSettingMut::Number(&mut it.slow_call_threshold_percentage)
    }),
];

/// Parses the settings of breakers, and checks that each is within its range.
fn breaker_config(env: &EnvVars) -> Result<BreakerConfig, ConfigError> {
    let mut config = BreakerConfig::default();
    for (name, setting) in BREAKER_VARIABLES {
        let unit = match setting(&mut config) {
            BreakerSettingMut::Number(number) => {
                *number = env.number_or(name, *number)?;
                ""
            }
            BreakerSettingMut::Millis(millis) => {
                *millis = env.number_or(name, *millis / 1000)?.saturating_mul(1000);
                " ms"
            }
        };
        if let Err(report) = config.validate() {
            let why = report.iter().next().map(|(_, error)| error.to_string());
            let why = why.unwrap_or_default();
            return Err(ConfigError {
                name,
                problem: format!("is out of range: {why}{unit}"),
            });
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_settings_out_of_range_are_refused_with_the_name_of_their_variable() {
        const TOO_LONG: &str = "18446744073709551615";
        for (name, value) in [
            ("BREAKER_FAILURE_PERCENT", "101"),
            ("BREAKER_MINIMUM_OUTCOMES", "0"),
            ("BREAKER_WINDOW_SECONDS", "0"),
            ("BREAKER_RECOVERY_SECONDS", TOO_LONG),
            ("BREAKER_SUCCESSES", "0"),
            ("BREAKER_PERMIT_SECONDS", TOO_LONG),
            ("BREAKER_SLOW_SECONDS", TOO_LONG),
            ("BREAKER_SLOW_PERCENT", "0"),
        ] {
            let error = Config::read(&environment(&[(name, value)])).unwrap_err();
            assert_eq!(error.name, name, "{error}");
            assert!(error.problem.contains("than"), "{error}");
        }
    }

    fn environment(extra: &[(&str, &str)]) -> EnvVars {
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
            ("FIRST_ADMINS", "U1, @ada"),
            ("DEFAULT_ROLE", "boss"),
            ("AUDIT_DAYS", "ninety"),
            ("TASKS_PER_USER_HOUR", "-1"),
            ("AGENT_QUEUE_LENGTH", "long"),
            ("IN_BAND_AUTHENTICATION", "off"),
        ] {
            let error = Config::read(&environment(&[(name, value)])).unwrap_err();
            assert_eq!(error.name, name, "{error}");
        }
    }
}
