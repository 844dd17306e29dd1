//! Failed calls of SQS as errors of the port.

use bematic::error::{QueueError, Source};

/// A failed call.
pub(super) fn failed(operation: &'static str, source: impl Into<Source>) -> QueueError {
    QueueError {
        operation,
        source: source.into(),
    }
}
