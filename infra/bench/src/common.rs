//! What several modules of the bench need.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The function that does nothing, as the others have a name.
pub(crate) const FLOOR: &str = "floor";

/// Locks a state. What is locked is whole between calls, even after one that panicked.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
