//! The general outcomes of reads and writes.

/// The outcome of creating a record that must not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created<T> {
    /// The record was created.
    New,
    /// The record existed already, with this content.
    Existing(T),
}

/// The outcome of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The write took place.
    Done,
    /// The record was changed by another writer first: it has to be read again and the change
    /// decided anew.
    Conflict,
}

/// A page of a list, and the cursor of the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The opaque cursor of the next page; `None` on the last page.
    pub next: Option<String>,
}
