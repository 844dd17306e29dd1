//! Builds the functions and the agent for this machine, and puts each function's binary where the
//! template expects it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::paths::Workspace;
use crate::run::{cargo, program, run};
use crate::ui::Ui;

/// The package and the binary of the reference agent.
pub const AGENT: &str = "bematic-agent";

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// What the stack runs.
    Stack,
    /// That, and all tests: in one go, since cargo compiles the dependencies anew for another
    /// selection of packages.
    StackAndTests,
}

/// Builds all that the stack runs, and gives back the path of the agent's binary.
pub async fn build(workspace: &Workspace, what: What, ui: &Ui) -> Result<PathBuf> {
    let step = ui.step(match what {
        What::Stack => "Building the functions and the agent",
        What::StackAndTests => "Building the functions, the agent and the tests",
    });
    let functions = workspace.functions()?;
    let mut cargo = cargo(
        workspace,
        &["build", "--message-format=json-render-diagnostics"],
    );
    match what {
        What::Stack => {
            for package in functions.iter().map(String::as_str).chain([AGENT]) {
                cargo.args(["--package", package]);
            }
        }
        What::StackAndTests => {
            cargo.args(["--workspace", "--all-targets"]);
        }
    }
    let built = executables(&run(&step, "cargo build", cargo).await?);
    for function in &functions {
        let from = built
            .get(function)
            .with_context(|| format!("{function} has no binary"))?;
        let stamp = workspace.join("target/lambda-sources").join(function);
        install(from, &workspace.bootstrap(function), &stamp).await?;
    }
    step.done(&format!("{} functions", functions.len()));
    built.get(AGENT).cloned().context("the agent has no binary")
}

#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    target: Target,
    profile: Profile,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The binaries that cargo says it made, by name; its other messages are of no interest.
pub fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| !artifact.profile.test)
        .filter_map(|artifact| Some((artifact.target.name, artifact.executable?)))
        .collect()
}

/// Copies a binary without its symbols, a third of what would be zipped and uploaded.
/// One that is there already keeps its time.
async fn install(from: &Path, to: &Path, stamp: &Path) -> Result<()> {
    let binary = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let digest = hex::encode(Sha256::digest(&binary));
    if to.exists() && fs::read_to_string(stamp).is_ok_and(|known| known == digest) {
        return Ok(());
    }
    for file in [to, stamp] {
        let dir = file.parent().context("a file is in a folder")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    // It comes with the C compiler; a machine without it deploys the binary as it is.
    program("strip").arg(to).output().await.ok();
    fs::write(stamp, digest).with_context(|| format!("cannot write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_read_from_what_cargo_says() {
        let artifact = |name: &str, executable: &str, test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "target": { "name": name },
                "profile": { "test": test },
                "executable": (!executable.is_empty()).then_some(executable),
            })
            .to_string()
        };
        let messages = [
            artifact("serde", "", false),
            artifact("batch", "/t/batch", false),
            artifact("batch", "/t/deps/batch-0123", true),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ]
        .join("\n");
        let found = executables(&messages);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("batch".into(), "/t/batch".into())]
        );
    }
}
