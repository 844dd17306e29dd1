//! `batch`: bulk work on many tasks. There is none yet: whatever arrives ends in the dead-letter
//! queue, with its reason in the log.

use serde::Deserialize;

use crate::error::BematicError;

/// Bulk work. None exists yet, so no message parses as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum BatchMessage {}

/// Does it.
///
/// # Errors
/// None can come about, since no message can.
pub fn handle(message: BatchMessage) -> Result<(), BematicError> {
    match message {}
}
