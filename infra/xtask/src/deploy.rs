//! `cargo xtask deploy`: builds the functions for AWS, and deploys them with the SAM CLI.

use std::env;
use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::Result;
use xtask::{Workspace, run};

use crate::sbom;
use crate::venv::{self, Tools};

const HELP: &str = "\
Build for AWS and deploy

Usage: cargo xtask deploy [--stack NAME] [ARGUMENTS OF sam deploy]

The stack is that of samconfig.toml by default. The first time, `cargo xtask deploy --guided` asks for
the parameters.";

pub(crate) fn deploy(arguments: &[OsString]) -> Result<()> {
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{HELP}");
        return Ok(());
    }
    let workspace = Workspace::find()?;
    venv::ensure(&workspace, Tools::Stack)?;
    run(
        "cargo lambda build",
        &mut release_build_command(&workspace)?,
    )?;
    sbom::write(&workspace)?;
    let mut sam = workspace.sam_command(&["deploy"]);
    sam.args(arguments.iter().skip(1).map(to_sam_argument));
    // `--guided` asks questions on the terminal.
    run("sam deploy", sam.stdin(Stdio::inherit()))
}

/// Translates `--stack`, as `bematic` calls the option, to SAM's name of it.
fn to_sam_argument(argument: &OsString) -> OsString {
    match argument.to_str() {
        Some("--stack") => "--stack-name".into(),
        Some(text) if text.starts_with("--stack=") => {
            text.replacen("--stack", "--stack-name", 1).into()
        }
        _ => argument.clone(),
    }
}

/// The arm64 release build into the folders that the template names.
fn release_build_command(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(workspace.tool_path("cargo-lambda"));
    // cargo-lambda finds the linker that it was installed with on the PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs = vec![workspace.venv_dir().join("bin")];
    dirs.extend(env::split_paths(&path));
    command
        .current_dir(workspace.root())
        .env("PATH", env::join_paths(dirs)?)
        .args(["lambda", "build", "--release", "--arm64", "--locked"])
        .args(["--lambda-dir", "target/lambda"]);
    for function in workspace.function_names()? {
        command.args(["--package", &function]);
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_named_as_elsewhere() {
        let said = ["--stack", "--stack=a", "--guided"].map(|text| to_sam_argument(&text.into()));
        assert_eq!(said, ["--stack-name", "--stack-name=a", "--guided"]);
    }
}
