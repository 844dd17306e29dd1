//! The progress of a bulk operation, as one Slack message.

use crate::{
    batch::{Batch, BatchKind, BatchState},
    slack::{
        Message,
        message::{context, section},
        text::{bar, quoted},
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
        Some(progress(batch)),
        counts(batch),
        failures(batch),
    ];
    let lines: Vec<_> = lines.into_iter().flatten().collect();
    Message {
        text: headline,
        blocks: vec![
            section(lines.join("\n")),
            context(format!("asked for by <@{}>", batch.origin.user_id)),
        ],
    }
}

/// Renders the progress bar. The total is read from an index that lags.
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage of more tasks than there are milliseconds in a century"
)]
fn progress(batch: &Batch) -> String {
    let looked_at = batch.tally.looked_at();
    match (&batch.state, batch.total()) {
        (BatchState::Finished { .. }, _) => bar(100.0),
        (_, Some(total)) if total > 0 => bar(100.0 * looked_at as f64 / total as f64),
        _ => bar(0.0),
    }
}

fn counts(batch: &Batch) -> Option<String> {
    let tally = &batch.tally;
    let total = batch.total()?.max(tally.looked_at());
    let failed = match tally.failed {
        0 => String::new(),
        failed => format!(", {failed} could not be changed"),
    };
    Some(format!(
        "{} of {total} looked at: {} changed, {} left as they were{failed}",
        tally.looked_at(),
        tally.changed,
        tally.unchanged,
    ))
}

fn failures(batch: &Batch) -> Option<String> {
    let names = quoted(batch.failed.iter());
    (!names.is_empty()).then(|| {
        format!("These tasks kept changing: {names}. Write the command again to retry them.")
    })
}
