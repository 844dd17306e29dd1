//! `cargo xtask test`: all tests, the end-to-end ones on a stack of their own; and a short run of `chaos`.

use anyhow::{Context as _, Result, bail};
use bematic_admin::STACK_FILE_VARIABLE;
use clap::Parser as _;
use tokio::process::Command;
use xtask::Workspace;

use crate::chaos;
use crate::process::STACK_FILE;
use crate::session;
use crate::stack::{Settings, TEST_PARAMETERS, with_stack};
use crate::ui::Ui;

/// Tests at a time: the end-to-end ones mostly wait, but more would keep the emulator, which works on one
/// processor, from answering within Slack's 3 s on a slow machine.
const TEST_THREADS: &str = "8";

/// Runs the tests whose name contains `filter`, or all and then lets failures loose.
pub(crate) async fn run_tests(workspace: &Workspace, filter: Option<&str>, ui: &Ui) -> Result<()> {
    let settings = Settings::with_parameters(TEST_PARAMETERS);
    with_stack(
        workspace,
        ui,
        session::TEST_DIR,
        settings,
        async |session, _| {
            let mut tests: Command = workspace.cargo_command(&["test", "--workspace"]).into();
            let status = tests
                .args(filter)
                .env(STACK_FILE_VARIABLE, session.dir.join(STACK_FILE))
                .env("RUST_TEST_THREADS", TEST_THREADS)
                .kill_on_drop(true)
                .status()
                .await
                .context("cargo test could not be started")?;
            if !status.success() {
                bail!("cargo test failed ({status})");
            }
            Ok(())
        },
    )
    .await?;
    if filter.is_some() {
        return Ok(());
    }
    // Short enough for every push.
    let options = ["chaos", "--agents=6", "--tasks=80", "--seconds=20"];
    let options = chaos::Options::parse_from(options);
    Box::pin(chaos::chaos(workspace, &options, ui)).await
}
