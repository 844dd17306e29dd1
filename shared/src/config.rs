//! The environment that `template.yaml` gives a function: missing means a clear failure at start.

use crate::error::ConfigError;

/// A variable that must be there.
///
/// # Errors
/// [`ConfigError`] if it is missing or empty.
pub fn required(name: &'static str) -> Result<String, ConfigError> {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => Ok(value),
        Ok(_) => Err(ConfigError {
            name,
            problem: "is empty".into(),
        }),
        Err(error) => Err(ConfigError {
            name,
            problem: error.to_string(),
        }),
    }
}
