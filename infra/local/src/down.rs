//! `cargo xtask down`: ends what `cargo xtask up` left running, by the ids it noted.

use anyhow::Result;

use xtask::Workspace;

use crate::paths::StackDir;
use crate::process::end_all;
use crate::ui::Ui;

/// Ends every process of every local stack of this checkout.
pub async fn down(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let mut ended = 0;
    let dirs = [
        StackDir::local,
        StackDir::test,
        StackDir::bench,
        StackDir::chaos,
    ];
    for dir in dirs {
        ended += end_all(&dir(workspace)).await?;
    }
    match ended {
        0 => ui.line("no local stack runs"),
        1 => ui.line("ended 1 process"),
        more => ui.line(&format!("ended {more} processes")),
    }
    Ok(())
}
