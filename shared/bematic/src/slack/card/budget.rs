//! The budget of each part of a card, in characters.

/// The task's title, shown twice: in the card, and in the notification.
pub(super) const TITLE_CHARS: usize = 300;
/// The reason why a task waits or was cancelled.
pub(super) const REASON_CHARS: usize = 600;
/// The message of a failure, before each of its lines is quoted: at worst that doubles it.
pub(super) const FAILURE_MESSAGE_CHARS: usize = 800;
/// One step; there are at most `Progress::MAX_STEPS_SHOWN`.
pub(super) const STEP_CHARS: usize = 160;
pub(super) const OUTPUT_CHARS: usize = 2000;
pub(super) const OUTPUT_WITH_RESULT_CHARS: usize = 1200;
pub(super) const RESULT_CHARS: usize = 2000;
/// One changed file's path.
pub(super) const FILE_PATH_CHARS: usize = 80;
/// The number of changed files that are named.
pub(super) const MAX_FILES: usize = 10;
/// One late report.
pub(super) const LATE_REPORT_CHARS: usize = 100;
/// The number of late reports that are shown, the newest.
pub(super) const MAX_LATE_REPORTS: usize = 3;
/// A name, of a model or a project.
pub(super) const NAME_CHARS: usize = 80;
