//! The budget of each part of a card, in characters.

/// The task's title, shown twice: in the card, and in the notification.
pub(super) const TITLE: usize = 300;
/// The reason why a task waits or was cancelled.
pub(super) const REASON: usize = 600;
/// The message of a failure, before each of its lines is quoted: at worst that doubles it.
pub(super) const FAILURE: usize = 800;
/// One step; there are at most `Progress::STEPS`.
pub(super) const STEP: usize = 160;
pub(super) const OUTPUT: usize = 2000;
pub(super) const OUTPUT_WITH_RESULT: usize = 1200;
pub(super) const RESULT: usize = 2000;
/// One changed file's path.
pub(super) const FILE: usize = 80;
/// The number of changed files that are named.
pub(super) const FILES: usize = 10;
/// One late report.
pub(super) const LATE: usize = 100;
/// The number of late reports that are shown, the newest.
pub(super) const LATES: usize = 3;
/// A name, of a model or a project.
pub(super) const NAME: usize = 80;
