//! What becomes of a write or a read, whatever it is of.

/// What became of putting a record that must not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created<T> {
    /// It is there now.
    New,
    /// This was there before.
    Existing(T),
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It took place.
    Done,
    /// Another changed the record first: read it again and decide anew.
    Conflict,
}

/// A page of a list, and where the next one starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Opaque; `None` on the last page.
    pub next: Option<String>,
}
