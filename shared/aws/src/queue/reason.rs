//! The reason that a message is in a dead-letter queue, as attributes of the message.

use std::collections::HashMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use bematic::{dead_letter::Reason, error::QueueError};

use super::failure::failed;

/// The attribute with the error's stable code.
pub(super) const CODE: &str = "code";
/// The attribute with the error's text.
pub(super) const REASON: &str = "reason";

pub(super) fn attributes(
    reason: &Reason,
) -> Result<HashMap<String, MessageAttributeValue>, QueueError> {
    let pairs = [(CODE, &reason.code), (REASON, &reason.text)];
    let pairs = pairs.into_iter().map(|(name, value)| {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()
            .map_err(|error| failed("SendMessage", error))?;
        Ok((name.to_owned(), value))
    });
    pairs.collect()
}
