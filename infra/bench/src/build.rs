//! Builds the functions for this machine as they are built for AWS, and measures their zip files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bematic_local::{run::run_command, ui::Ui};
use flate2::{Compression, write::DeflateEncoder};
use serde_json::Value;
use xtask::Workspace;

use crate::common::FLOOR_FUNCTION;

const FLOOR_PACKAGE: &str = "bematic-floor";

/// Builds `functions` and the floor, and returns the binaries of these and of the other functions that
/// were built before, by function.
pub(crate) async fn build_functions(
    workspace: &Workspace,
    functions: &[String],
    profile: &str,
    ui: &Ui,
) -> Result<BTreeMap<String, PathBuf>> {
    let step = ui.begin_step(&format!("Building with the profile {profile}"));
    let format = "--message-format=json-render-diagnostics";
    let mut command = workspace.cargo_command(&["build", format, "--profile", profile]);
    for package in functions.iter().map(String::as_str).chain([FLOOR_PACKAGE]) {
        command.args(["--package", package]);
    }
    let built = parse_executables(&run_command(&step, "cargo build", command).await?);
    let floor = built.get(FLOOR_PACKAGE);
    let floor = floor.context("the floor has no binary")?;
    let dir = floor.parent().context("a binary is in a folder")?;
    let mut binaries = BTreeMap::from([(FLOOR_FUNCTION.to_owned(), floor.clone())]);
    for function in workspace.function_names()? {
        let binary = dir.join(&function);
        if binary.is_file() {
            binaries.insert(function, binary);
        }
    }
    step.succeed(&format!("{} functions", functions.len()));
    Ok(binaries)
}

/// The binaries that cargo says it made, by name; its other messages are of no interest.
fn parse_executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines();
    let messages = messages.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter(|it| it["profile"]["test"] == false);
    let binary = |it: Value| {
        Some((
            it["target"]["name"].as_str()?.to_owned(),
            it["executable"].as_str()?.into(),
        ))
    };
    programs.filter_map(binary).collect()
}

/// Bytes of a zip's headers for one file named `bootstrap`: its own, that of the directory, and
/// the end.
const ZIP_HEADER_BYTES: u64 = 30 + 46 + 22 + 2 * "bootstrap".len() as u64;

/// Bytes of the zip that SAM uploads of a binary: deflated, at zlib's default level.
pub(crate) fn zipped_size(binary: &Path) -> Result<u64> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(&bytes)?;
    Ok(encoder.finish()?.len() as u64 + ZIP_HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_counted_as_it_is_zipped() {
        let path = std::env::temp_dir().join(format!("bematic-bench-{}", std::process::id()));
        fs::write(&path, vec![7; 100_000]).unwrap();
        let size = zipped_size(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(size > ZIP_HEADER_BYTES && size < 1000, "{size}");
    }
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
        let found = parse_executables(&messages);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("batch".into(), "/t/batch".into())]
        );
    }
}
