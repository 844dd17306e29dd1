//! The progress of a bulk operation, as one Slack message.

use crate::{
    batch::{Batch, BatchKind, BatchState},
    slack::{
        Message,
        message::{context_block, section_block},
        text::{inline_code_list, progress_bar},
    },
};

/// Renders a bulk operation.
pub(crate) fn batch_card(batch: &Batch) -> Message {
    let (doing, done) = match batch.kind {
        BatchKind::Cancel => (
            "Cancelling all tasks of this channel",
            "Tasks cancelled or being stopped",
        ),
        BatchKind::Retry => ("Trying all failed tasks again", "Tasks tried again"),
        BatchKind::Archive => ("Archiving all tasks that are over", "Tasks archived"),
    };
    let headline = match batch.state {
        BatchState::Finished { .. } => {
            format!(":white_check_mark: *{done}: {}*", batch.tally.changed)
        }
        _ => format!(":hourglass_flowing_sand: *{doing} …*"),
    };
    let lines = [
        Some(headline.clone()),
        Some(batch_progress_bar(batch)),
        counts(batch),
        failed_changes(batch),
    ];
    let lines: Vec<_> = lines.into_iter().flatten().collect();
    Message {
        text: headline,
        blocks: vec![
            section_block(lines.join("\n")),
            context_block(format!("asked for by <@{}>", batch.origin.user_id)),
        ],
    }
}

/// Renders the progress bar. The total is read from an index that lags.
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage of more tasks than there are milliseconds in a century"
)]
fn batch_progress_bar(batch: &Batch) -> String {
    let examined_count = batch.tally.examined_count();
    match (&batch.state, batch.total()) {
        (BatchState::Finished { .. }, _) => progress_bar(100.0),
        (_, Some(total)) if total > 0 => progress_bar(100.0 * examined_count as f64 / total as f64),
        _ => progress_bar(0.0),
    }
}

fn counts(batch: &Batch) -> Option<String> {
    let tally = &batch.tally;
    let total = batch.total()?.max(tally.examined_count());
    let failed = match tally.failed {
        0 => String::new(),
        failed => format!(", {failed} could not be changed"),
    };
    Some(format!(
        "{} of {total} looked at: {} changed, {} left as they were{failed}",
        tally.examined_count(),
        tally.changed,
        tally.unchanged,
    ))
}

fn failed_changes(batch: &Batch) -> Option<String> {
    let names = inline_code_list(batch.failed.iter());
    (!names.is_empty()).then(|| {
        format!("These tasks kept changing: {names}. Write the command again to retry them.")
    })
}
