//! Deploys `template.yaml` onto the emulator, with the SAM CLI.

use anyhow::Result;
use xtask::Workspace;

use crate::emulator::Emulator;
use crate::run::run;
use crate::ui::Ui;

/// The name of the CloudFormation stack.
pub const STACK_NAME: &str = "bematic";

/// Deploys onto the emulator.
pub async fn to_emulator(
    workspace: &Workspace,
    emulator: &Emulator,
    parameters: &[(&str, &str)],
    ui: &Ui,
) -> Result<()> {
    let step = ui.step("Deploying template.yaml onto it");
    let mut deploy = workspace.sam(&["deploy", "--config-env", "local", "--parameter-overrides"]);
    deploy.envs(Emulator::environment(&emulator.endpoint()));
    deploy.args(
        parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    run(&step, "sam deploy", deploy).await?;
    step.done("");
    Ok(())
}
