//! The paths in a checkout, and its tools: for `cargo xtask` and for the programs that it hands over to.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A checkout of the project.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that cargo, or else the current folder, is in.
    pub fn find() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => env::current_dir().context("the current folder cannot be read")?,
        };
        let mut above = start.ancestors();
        let root = above.find(|dir| dir.join("template.yaml").is_file());
        let missing = "no template.yaml here or above: run this inside a checkout of Bematic";
        let root = root.context(missing)?.to_owned();
        Ok(Self { root })
    }

    /// The folder with `template.yaml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder, by its path from the root.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The Python environment with the pinned tools.
    pub fn venv_dir(&self) -> PathBuf {
        self.join(".venv")
    }

    /// The Python environment with the pinned linters, which only `cargo xtask check` needs.
    pub fn check_venv_dir(&self) -> PathBuf {
        self.join(".venv-check")
    }

    /// A program of the Python environment.
    pub fn tool_path(&self, name: &str) -> PathBuf {
        self.venv_dir().join("bin").join(name)
    }

    /// Where the template expects the binary of a function.
    pub fn bootstrap_path(&self, function: &str) -> PathBuf {
        self.join("target/lambda").join(function).join("bootstrap")
    }

    /// The functions, by name: one crate each in `functions/`.
    pub fn function_names(&self) -> Result<Vec<String>> {
        let dir = self.join("functions");
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            if entry.path().join("Cargo.toml").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Cargo, the one that runs this program if any, in the checkout.
    ///
    /// The variables that `cargo run` sets for its program are removed from the environment: the build
    /// scripts of some dependencies read them, and would run again, with all that depends on them,
    /// whenever cargo is run once by hand and once from here.
    pub fn cargo_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).args(args);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_package_variable) {
                command.env_remove(name);
            }
        }
        command
    }

    /// The SAM CLI in the checkout, with its telemetry off.
    pub fn sam_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.tool_path("sam"));
        command
            .current_dir(&self.root)
            .args(args)
            .env("SAM_CLI_TELEMETRY", "0")
            .stdin(Stdio::null());
        command
    }
}

/// Whether cargo sets a variable for the package that it runs, rather than a person for cargo.
fn is_package_variable(variable: &str) -> bool {
    let prefixes = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
    ];
    prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

/// The path of a program that was built beside this one.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("the path of this program is not known")?;
    Ok(own.with_file_name(name))
}

/// Runs a program to its end with the terminal as its own; an exit status other than 0 is an error.
pub fn run(name: &str, command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{name} could not be started"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_keeps_what_a_person_sets() {
        assert!(is_package_variable("CARGO_PKG_NAME") && is_package_variable("CARGO_MANIFEST_DIR"));
        assert!(!is_package_variable("CARGO_TARGET_DIR") && !is_package_variable("CARGO_HOME"));
    }
}
