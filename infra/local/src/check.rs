//! `cargo xtask check`: what must be clean, beside the tests.

use anyhow::Result;

use crate::deploy::sam;
use crate::emulator::REGION;
use crate::paths::Workspace;
use crate::run::{cargo, passthrough, program};
use crate::ui::Ui;
use crate::venv;

const CLIPPY: [&str; 7] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--all-features",
    "--",
    "-D",
    "warnings",
];

/// Formatting, lints, and the template as two tools read it.
pub async fn check(workspace: &Workspace, ui: &Ui) -> Result<()> {
    passthrough(
        "cargo fmt --check",
        cargo(workspace, &["fmt", "--all", "--check"]),
    )
    .await?;
    passthrough("cargo clippy", cargo(workspace, &CLIPPY)).await?;
    venv::ensure(workspace, ui).await?;
    let mut validate = sam(workspace);
    validate.args(["validate", "--lint", "--region", REGION]);
    passthrough("sam validate", validate).await?;
    let mut lint = program(workspace.tool("cfn-lint"));
    lint.current_dir(workspace.root())
        .args(["--regions", REGION, "--", "template.yaml"]);
    passthrough("cfn-lint", lint).await?;
    ui.line("✓ everything is clean");
    Ok(())
}
