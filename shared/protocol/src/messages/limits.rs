//! The protocol's limits, with their sources.

/// Bytes of one WebSocket message (API Gateway: 128 KB; larger closes the connection with 1009).
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// Bytes of one WebSocket frame (API Gateway: 32 KB; larger closes the connection with 1009).
pub const MAX_FRAME_BYTES: usize = 32 * 1024;
/// Characters of a prompt.
pub const MAX_PROMPT_CHARS: usize = 100_000;
/// Characters of a progress message, of one step, and of a reason.
pub const MAX_LINE_CHARS: usize = 10_000;
/// Steps in one TASK_PROGRESS.
pub const MAX_STEPS: usize = 100;
/// Characters of a name (a model, bot, command or version).
pub const MAX_NAME_CHARS: usize = 128;
/// Characters of a path.
pub const MAX_PATH_CHARS: usize = 4096;
/// Entries of a list in a message (files, commands, tools, tasks).
pub const MAX_LIST_ENTRIES: usize = 1000;
/// The largest capacity that an agent may report.
pub const MAX_CAPACITY: u32 = 1000;
