//! Failed SQS calls, as the ports' error.

use bematic::error::{QueueError, Source};

/// Returns the error for a failed call of `operation`.
pub(super) fn failed(operation: &'static str, source: impl Into<Source>) -> QueueError {
    QueueError {
        operation,
        source: source.into(),
    }
}
