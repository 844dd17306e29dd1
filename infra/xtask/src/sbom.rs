//! `cargo xtask sbom`: lists what each program is made of (a software bill of materials).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use xtask::{Workspace, run};

use crate::explain_without_options;

/// The version of cargo-cyclonedx. Cargo checks it, and what it is made of, by the checksums of the
/// registry and of its lock.
const TOOL_VERSION: &str = "0.5.9";
/// The platform of the functions.
const PLATFORM: &str = "aarch64-unknown-linux-gnu";
/// The end of the names of cargo-cyclonedx's files, which it writes beside each program's
/// `Cargo.toml`.
const WRITTEN_SUFFIX: &str = "_bin.cdx.json";
/// The folders with the programs' crates.
const CRATE_DIRS: [&str; 3] = ["functions", "infra", "infra/bench"];

const HELP: &str =
    "Lists what the programs are made of, in the format CycloneDX. It has no options.";

/// Writes the lists.
pub(crate) fn sbom(arguments: &[OsString]) -> Result<()> {
    if let Some(argument) = arguments.get(1) {
        return explain_without_options("sbom", argument, HELP);
    }
    write(&Workspace::find()?)
}

/// Writes `target/sbom/<program>.cdx.json` for each program, in the format CycloneDX. Crates that
/// only build a program are not in its list.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let mut tool = Command::new(install_tool(workspace)?);
    tool.current_dir(workspace.root())
        .args(["cyclonedx", "--format", "json", "--spec-version", "1.5"])
        .args(["--describe", "binaries", "--target", PLATFORM])
        .arg("--no-build-deps");
    run("cargo cyclonedx", &mut tool)?;
    let dir = workspace.join("target/sbom");
    let count = collect(workspace.root(), &dir)?;
    if count == 0 {
        bail!("cargo cyclonedx has written no list");
    }
    println!("✓ {} has the lists of {count} programs", dir.display());
    Ok(())
}

/// Moves the lists from beside the programs' crates into a folder of their own. Returns their
/// number.
fn collect(root: &Path, into: &Path) -> Result<usize> {
    let context = || format!("the lists cannot be moved into {}", into.display());
    fs::create_dir_all(into).with_context(context)?;
    let mut count = 0;
    for dir in CRATE_DIRS.map(|dir| root.join(dir)) {
        for member in fs::read_dir(&dir).with_context(context)? {
            let member = member?.path();
            if !member.is_dir() {
                continue;
            }
            for file in fs::read_dir(member).with_context(context)? {
                let file = file?;
                let name = file.file_name();
                let program = name.to_str().and_then(|it| it.strip_suffix(WRITTEN_SUFFIX));
                if let Some(program) = program {
                    fs::rename(file.path(), into.join(format!("{program}.cdx.json")))
                        .with_context(context)?;
                    count += 1;
                }
            }
        }
    }
    Ok(count)
}

/// Installs cargo-cyclonedx unless it was already, which takes about a minute. Returns its path.
fn install_tool(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.join(format!("target/tools/cargo-cyclonedx-{TOOL_VERSION}"));
    let tool = root.join("bin/cargo-cyclonedx");
    if !tool.is_file() {
        // A build for development takes half of the time, and the tool runs for seconds.
        let install = ["install", "--locked", "--debug", "--quiet"];
        let mut cargo = workspace.cargo_command(&install);
        cargo
            .args(["cargo-cyclonedx", "--version", TOOL_VERSION, "--root"])
            .arg(&root)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        run("cargo install", &mut cargo)?;
    }
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process;

    use super::*;

    #[test]
    fn the_lists_are_moved_away_from_the_sources() {
        let root = env::temp_dir().join(format!("sbom-{}", process::id()));
        let member = root.join("functions/batch");
        for dir in ["functions/batch", "infra/bench/floor"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(member.join("batch_bin.cdx.json"), "{}").unwrap();
        fs::write(root.join("infra/bench/floor/floor_bin.cdx.json"), "{}").unwrap();
        fs::write(member.join("Cargo.toml"), "").unwrap();
        let into = root.join("target/sbom");
        assert_eq!(collect(&root, &into).unwrap(), 2);
        assert!(into.join("batch.cdx.json").is_file() && into.join("floor.cdx.json").is_file());
        assert!(member.join("Cargo.toml").is_file());
        assert!(!member.join("batch_bin.cdx.json").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
