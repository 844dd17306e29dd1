//! `cargo xtask test`: unit, property and end-to-end tests, the latter on a stack of their own; and
//! a short run of `cargo xtask chaos`.

use anyhow::{Context as _, Result, bail};
use bematic_admin::STACK_VARIABLE;
use tokio::process::Command;
use xtask::Workspace;

use crate::chaos;
use crate::paths::StackDir;
use crate::session::session;
use crate::stack::{Settings, Stack, TEST_PARAMETERS};
use crate::ui::Ui;

/// Tests at a time: the end-to-end ones mostly wait.
const TEST_THREADS: &str = "16";

/// Runs the tests whose name contains `filter`, or all and then lets failures loose.
pub async fn test(workspace: &Workspace, filter: Option<&str>, ui: &Ui) -> Result<()> {
    session(workspace, ui, StackDir::TEST, async |session| {
        let settings = Settings {
            parameters: TEST_PARAMETERS,
            ..Settings::default()
        };
        let stack = Stack::start(session, settings).await?;
        let mut tests: Command = workspace.cargo(&["test", "--workspace"]).into();
        tests
            .args(filter)
            .env(STACK_VARIABLE, session.dir.stack_file())
            .env("RUST_TEST_THREADS", TEST_THREADS)
            .kill_on_drop(true);
        let tested = tests.status().await;
        stack.shutdown().await;
        let status = tested.context("cargo test could not be started")?;
        if !status.success() {
            bail!("cargo test failed ({status})");
        }
        Ok(())
    })
    .await?;
    match filter {
        Some(_) => Ok(()),
        None => Box::pin(chaos::chaos(workspace, &chaos::Options::short(), ui)).await,
    }
}
