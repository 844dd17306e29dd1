//! `cargo xtask check`: the checks beside the tests.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Result, bail};
use xtask::{Workspace, run};

use crate::{circles, venv};

/// The region whose rules the template is checked by.
const LINT_REGION: &str = "us-east-1";

/// Checks the modules for circles, the formatting, the lints, and the template as two tools read it.
pub(crate) fn check(arguments: &[OsString]) -> Result<()> {
    if let Some(unknown) = arguments.get(1) {
        bail!(
            "`cargo xtask check` takes no arguments, not {}",
            unknown.display()
        );
    }
    let workspace = &Workspace::find()?;
    circles::check(workspace.root())?;
    run(
        "cargo fmt --check",
        &mut workspace.cargo_command(&["fmt", "--all", "--check"]),
    )?;
    let clippy = ["clippy", "--all-targets", "--", "-D", "warnings"];
    venv::ensure_during(workspace, || {
        run("cargo clippy", &mut workspace.cargo_command(&clippy))
    })?;
    run(
        "sam validate",
        &mut workspace.sam_command(&["validate", "--lint", "--region", LINT_REGION]),
    )?;
    let mut lint = Command::new(workspace.tool_path("cfn-lint"));
    lint.current_dir(workspace.root())
        .args(["--regions", LINT_REGION, "--", "template.yaml"]);
    run("cfn-lint", &mut lint)?;
    println!("✓ everything is clean");
    Ok(())
}
