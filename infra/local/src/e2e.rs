//! `cargo xtask test`: unit and property tests, then the end-to-end tests on a stack of their own.

use anyhow::Result;

use crate::build;
use crate::paths::{StackDir, Workspace};
use crate::process::Processes;
use crate::run::{cargo, passthrough};
use crate::session::session;
use crate::stack::{Ports, STACK_VARIABLE, Stack};
use crate::ui::Ui;
use crate::venv;

/// End-to-end tests at a time: they mostly wait.
const TEST_THREADS: &str = "16";

/// The package of the end-to-end tests.
const E2E: &str = "bematic-e2e";

/// Runs the tests whose name contains `filter`, or all.
pub async fn test(workspace: &Workspace, filter: Option<&str>, ui: &Ui) -> Result<()> {
    let mut unit = cargo(workspace, &["test", "--workspace", "--exclude", E2E]);
    unit.args(filter);
    passthrough("cargo test", unit).await?;
    end_to_end(workspace, filter, ui).await
}

async fn end_to_end(workspace: &Workspace, filter: Option<&str>, ui: &Ui) -> Result<()> {
    let dir = StackDir::test(workspace);
    session(&dir, async |processes: &mut Processes| {
        venv::ensure(workspace, ui).await?;
        build::build(workspace, ui).await?;
        let stack = Stack::start(workspace, &dir, processes, Ports::default(), ui).await?;
        let mut tests = cargo(workspace, &["test", "--package", E2E]);
        tests.args(filter).env(STACK_VARIABLE, dir.stack_file());
        tests.env("RUST_TEST_THREADS", TEST_THREADS);
        let outcome = passthrough("the end-to-end tests", tests).await;
        stack.slack.shutdown().await;
        outcome
    })
    .await
}
