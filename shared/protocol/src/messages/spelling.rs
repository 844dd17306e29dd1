//! The two spellings of a message type: `TASK_ACK`, and `task:ack`, which older agents use.

use serde::{Deserialize, Serialize};

/// The spelling of message types on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// `TASK_ACK`
    #[default]
    Canonical,
    /// `task:ack`
    Colons,
}

impl Spelling {
    /// Returns the type among the `known` canonical ones, and its spelling.
    pub(super) fn read(kind: &str, known: &[&'static str]) -> Option<(&'static str, Self)> {
        [Self::Canonical, Self::Colons]
            .into_iter()
            .find_map(|spelling| {
                let name = known.iter().find(|name| spelling.write(name) == kind)?;
                Some((*name, spelling))
            })
    }

    /// Returns a canonical type in this spelling.
    pub fn write(self, canonical: &str) -> String {
        match self {
            Self::Canonical => canonical.to_owned(),
            Self::Colons => canonical.to_ascii_lowercase().replacen('_', ":", 1),
        }
    }
}
