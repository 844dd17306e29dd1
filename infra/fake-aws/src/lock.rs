//! State that several tasks share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is locked is whole between calls, whatever became of one.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
