//! What each part of a card may take, in characters. A section holds [`Message::SECTION_LIMIT`].
//!
//! [`Message::SECTION_LIMIT`]: crate::slack::Message::SECTION_LIMIT

/// The task's title, shown twice: in the card, and in the notification.
pub(super) const TITLE: usize = 300;
/// Why a task waits or was cancelled.
pub(super) const REASON: usize = 600;
/// Why a task failed, before each of its lines is quoted: at worst that doubles it.
pub(super) const FAILURE: usize = 800;
/// One step; there are at most `Progress::STEPS`.
pub(super) const STEP: usize = 160;
/// The output's tail.
pub(super) const OUTPUT: usize = 2000;
/// The output's tail above a result.
pub(super) const OUTPUT_WITH_RESULT: usize = 1200;
/// The result.
pub(super) const RESULT: usize = 2000;
/// One changed file's path.
pub(super) const FILE: usize = 80;
/// Changed files that are named.
pub(super) const FILES: usize = 10;
/// One late report.
pub(super) const LATE: usize = 100;
/// Late reports that are shown, the newest.
pub(super) const LATES: usize = 3;
/// A name: a model, a project.
pub(super) const NAME: usize = 80;
