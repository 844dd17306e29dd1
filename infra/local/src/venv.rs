//! The Python environment `.venv` with the pinned tools: the emulator, the SAM CLI, cfn-lint and
//! cargo-lambda.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::paths::Workspace;
use crate::run::{program, run};
use crate::ui::Ui;

/// The names an interpreter may have, the one a person most likely means first.
const INTERPRETERS: [&str; 7] = [
    "python3",
    "python",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];
/// The oldest Python the emulator runs on.
const OLDEST: (u32, u32) = (3, 10);

/// Makes the environment what `requirements.txt` says, unless it is already.
pub async fn ensure(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let lock = workspace.join("requirements.txt");
    let text = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let wanted = hex::encode(Sha256::digest(&text));
    let stamp = workspace.venv().join("requirements.sha256");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let step = ui.step("Installing the tools into .venv (once, about a minute)");
    let mut create = program(find_python().await?);
    create.args(["-m", "venv", "--clear"]).arg(workspace.venv());
    run(&step, "python -m venv", create).await.context(
        "the Python environment could not be made; on Debian and Ubuntu it needs the package \
         python3-venv",
    )?;
    let mut install = program(workspace.tool("python"));
    // The lock is whole, so nothing is resolved: its hashes are all that decides. (The emulator
    // and the SAM CLI pin two patch releases of one library, which a resolver would refuse.)
    install
        .args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args(["--no-deps", "--require-hashes", "--requirement"])
        .arg(&lock);
    run(&step, "pip install", install).await?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    step.done("");
    Ok(())
}

async fn find_python() -> Result<PathBuf> {
    for name in INTERPRETERS {
        let mut command = program(name);
        command.args(["-c", "import sys; print(*sys.version_info[:2])"]);
        let Ok(output) = command.output().await else {
            continue;
        };
        if version(&String::from_utf8_lossy(&output.stdout)).is_some_and(|found| found >= OLDEST) {
            return Ok(name.into());
        }
    }
    let (major, minor) = OLDEST;
    bail!(
        "no Python {major}.{minor} or newer was found on the PATH: install one and run this again"
    )
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("3 9\n").is_some_and(|found| found < OLDEST));
        assert!(version("3 10").is_some_and(|found| found >= OLDEST));
        assert_eq!(version("Python 2"), None);
    }
}
