//! `cargo xtask test`: unit, property and end-to-end tests, the latter on a stack of their own; and
//! a short run of `cargo xtask chaos`.

use anyhow::Result;

use crate::build::{self, What};
use crate::chaos;
use crate::paths::{StackDir, Workspace};
use crate::process::Processes;
use crate::run::{cargo, passthrough};
use crate::session::session;
use crate::stack::{STACK_VARIABLE, Settings, Stack, TEST_PARAMETERS};
use crate::ui::Ui;
use crate::venv;

/// Tests at a time: the end-to-end ones mostly wait.
const TEST_THREADS: &str = "16";

/// Runs the tests whose name contains `filter`, or all and then lets failures loose. All tests in
/// one run of cargo, since it compiles the dependencies anew for another selection of packages.
pub async fn test(workspace: &Workspace, filter: Option<&str>, ui: &Ui) -> Result<()> {
    let dir = StackDir::test(workspace);
    session(&dir, async |processes: &mut Processes| {
        venv::ensure(workspace, ui).await?;
        build::build(workspace, What::StackAndTests, ui).await?;
        let settings = Settings {
            parameters: TEST_PARAMETERS,
            ..Settings::default()
        };
        let stack = Stack::start(workspace, &dir, processes, settings, ui).await?;
        let mut tests = cargo(workspace, &["test", "--workspace"]);
        tests.args(filter).env(STACK_VARIABLE, dir.stack_file());
        tests.env("RUST_TEST_THREADS", TEST_THREADS);
        let outcome = passthrough("cargo test", tests).await;
        stack.shutdown().await;
        outcome
    })
    .await?;
    match filter {
        Some(_) => Ok(()),
        None => Box::pin(chaos::let_loose(workspace, &chaos::Options::short(), ui)).await,
    }
}
