//! `cargo xtask test`: all tests, the end-to-end ones on a stack of their own; and a short run of `chaos`.

use std::path::Path;

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

/// The arguments that have the ignored tests run, and no others.
const IGNORED: [&str; 2] = ["--", "--ignored"];

/// Runs `cargo test` on a stack, whose file is `stack_file`.
async fn run_cargo_test(
    workspace: &Workspace,
    arguments: &[&str],
    filter: Option<&str>,
    of_tests: &[&str],
    threads: &str,
    stack_file: &Path,
) -> Result<()> {
    let mut tests: Command = workspace.cargo_command(arguments).into();
    let status = tests
        .args(filter)
        .args(of_tests)
        .env(STACK_FILE_VARIABLE, stack_file)
        .env("RUST_TEST_THREADS", threads)
        .kill_on_drop(true)
        .status()
        .await
        .context("cargo test could not be started")?;
    if !status.success() {
        bail!("cargo test failed ({status})");
    }
    Ok(())
}

/// Runs the tests whose name contains `filter`, or all and then lets failures loose.
pub(crate) async fn run_tests(workspace: &Workspace, filter: Option<&str>, ui: &Ui) -> Result<()> {
    let settings = Settings::with_parameters(TEST_PARAMETERS);
    with_stack(
        workspace,
        ui,
        session::TEST_DIR,
        settings,
        async |session, _| {
            let file = session.dir.join(STACK_FILE);
            // Tests that need the emulator for themselves are ignored in the run of all. The flood is run by
            // its name only: whether the emulator keeps up with it depends on what else the machine does.
            let run_alone = async |name| {
                let arguments = ["test", "--package", "bematic-e2e", "--locked"];
                run_cargo_test(workspace, &arguments, Some(name), &IGNORED, "1", &file).await
            };
            let all = ["test", "--workspace", "--locked"];
            run_cargo_test(workspace, &all, filter, &[], TEST_THREADS, &file).await?;
            // The check of the functions' permissions runs the handlers' tests once more.
            let handlers = ["test", "--workspace", "--test", "handlers", "--locked"];
            run_cargo_test(workspace, &handlers, filter, &IGNORED, TEST_THREADS, &file).await?;
            run_alone(filter.unwrap_or("cases::deployment")).await
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
