//! Every type has two spellings: `TASK_ACK`, and `task:ack` as agents in the field have it.

use serde::{Deserialize, Serialize};

/// How a connection spells message types.
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
    /// Finds a type among the `known` canonical ones, and says how it was spelled.
    pub(super) fn read(kind: &str, known: &[&'static str]) -> Option<(&'static str, Self)> {
        [Self::Canonical, Self::Colons]
            .into_iter()
            .find_map(|spelling| {
                let name = known.iter().find(|name| spelling.write(name) == kind)?;
                Some((*name, spelling))
            })
    }

    /// Spells a canonical name.
    pub fn write(self, canonical: &str) -> String {
        match self {
            Self::Canonical => canonical.to_owned(),
            Self::Colons => canonical.to_ascii_lowercase().replacen('_', ":", 1),
        }
    }
}
