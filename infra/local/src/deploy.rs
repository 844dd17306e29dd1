//! Deploys `template.yaml` with the SAM CLI: onto the emulator, or onto AWS.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use tokio::process::Command;

use crate::emulator::Emulator;
use crate::paths::Workspace;
use crate::run::{passthrough, program, run};
use crate::ui::{Step, Ui};
use crate::venv;

/// The name of the CloudFormation stack, on the emulator and by default on AWS.
pub const STACK_NAME: &str = "bematic";

/// The outputs of a deployed stack, by name.
pub type Outputs = BTreeMap<String, String>;

/// Deploys onto the emulator and gives back the outputs.
pub async fn to_emulator(
    workspace: &Workspace,
    emulator: &Emulator,
    parameters: &[(&str, &str)],
    ui: &Ui,
) -> Result<Outputs> {
    let step = ui.step("Deploying template.yaml onto it");
    let mut deploy = sam(workspace);
    deploy.envs(Emulator::environment(&emulator.endpoint()));
    deploy.args(["deploy", "--config-env", "local", "--parameter-overrides"]);
    deploy.args(
        parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    run(&step, "sam deploy", deploy).await?;
    let mut list = sam(workspace);
    list.envs(Emulator::environment(&emulator.endpoint()));
    let outputs = list_outputs(&step, list, STACK_NAME).await?;
    step.done("");
    Ok(outputs)
}

/// The outputs of a stack on AWS, reached as the AWS environment says.
pub async fn outputs(workspace: &Workspace, stack: &str, ui: &Ui) -> Result<Outputs> {
    venv::ensure(workspace, ui).await?;
    let step = ui.step(&format!("Looking up the stack {stack}"));
    let outputs = list_outputs(&step, sam(workspace), stack).await?;
    step.done("");
    Ok(outputs)
}

/// Builds the functions for AWS and deploys them, with `args` handed on to `sam deploy`.
pub async fn to_aws(
    workspace: &Workspace,
    stack: Option<&str>,
    args: &[String],
    ui: &Ui,
) -> Result<()> {
    venv::ensure(workspace, ui).await?;
    passthrough("cargo lambda build", release_build(workspace)?).await?;
    let mut deploy = sam(workspace);
    deploy.arg("deploy");
    if let Some(stack) = stack {
        deploy.args(["--stack-name", stack]);
    }
    // The questions of `--guided` are answered by whoever sits there.
    deploy.args(args).stdin(std::process::Stdio::inherit());
    passthrough("sam deploy", deploy).await
}

/// The arm64 release build into the folders that the template names.
fn release_build(workspace: &Workspace) -> Result<Command> {
    let mut command = program(workspace.tool("cargo-lambda"));
    // cargo-lambda finds the linker that it was installed with on the PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = vec![workspace.venv().join("bin")];
    dirs.extend(std::env::split_paths(&path));
    command
        .current_dir(workspace.root())
        .env("PATH", std::env::join_paths(dirs)?)
        .args([
            "lambda",
            "build",
            "--release",
            "--arm64",
            "--lambda-dir",
            "target/lambda",
        ]);
    for function in workspace.functions()? {
        command.args(["--package", &function]);
    }
    Ok(command)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    output_key: String,
    output_value: String,
}

async fn list_outputs(step: &Step, mut command: Command, stack: &str) -> Result<Outputs> {
    command.args([
        "list",
        "stack-outputs",
        "--stack-name",
        stack,
        "--output",
        "json",
    ]);
    let text = run(step, "sam list stack-outputs", command).await?;
    let outputs: Vec<Output> = serde_json::from_str(&text)
        .with_context(|| format!("sam list stack-outputs said:\n{text}"))?;
    Ok(outputs
        .into_iter()
        .map(|output| (output.output_key, output.output_value))
        .collect())
}

/// The SAM CLI, which reports its use to nobody.
pub(crate) fn sam(workspace: &Workspace) -> Command {
    let mut command = program(workspace.tool("sam"));
    command
        .current_dir(workspace.root())
        .env("SAM_CLI_TELEMETRY", "0");
    command
}
