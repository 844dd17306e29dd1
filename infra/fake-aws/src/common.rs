//! What the services have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// The caller's clock, in Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The endpoint of every service, which nothing resolves.
pub(crate) const ENDPOINT: &str = "http://aws.invalid";

/// Locks state, which is whole between calls, even if one has panicked.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a service answers with: the JSON of a success, or an error.
pub(crate) type ServiceResult<T = Value> = Result<T, ServiceError>;

/// An error that a service answers with.
#[derive(Debug)]
pub(crate) struct ServiceError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) body: Value,
}

impl ServiceError {
    pub(crate) fn new(status: u16, code: &'static str, message: &str) -> Self {
        let body = json!({ "__type": code, "message": message });
        Self { status, code, body }
    }
}
