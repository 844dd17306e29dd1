//! Deploys `template.yaml` onto the emulator, with the SAM CLI.

use anyhow::Result;

use crate::emulator;
use crate::run::run;
use crate::session::Session;

/// The name of the CloudFormation stack.
pub const STACK_NAME: &str = "bematic";

/// Deploys onto the emulator at `endpoint`.
pub async fn to_emulator(
    session: &Session<'_>,
    endpoint: &str,
    parameters: &[(&str, &str)],
) -> Result<()> {
    let step = session.ui.step("Deploying template.yaml onto it");
    let arguments = ["deploy", "--config-env", "local", "--parameter-overrides"];
    let mut deploy = session.workspace.sam(&arguments);
    deploy.envs(emulator::environment(endpoint));
    let parameters = parameters.iter();
    deploy.args(parameters.map(|(name, value)| format!("{name}={value}")));
    run(&step, "sam deploy", deploy).await?;
    step.done("");
    Ok(())
}
