//! Builds the functions for this machine as they are built for AWS, in one go and with the same
//! profile, and says how large they are as they are uploaded.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bematic_local::run::run;
use bematic_local::ui::Ui;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Deserialize;
use xtask::Workspace;

/// The package of the function that does nothing.
const FLOOR_PACKAGE: &str = "bematic-floor";

/// Builds `functions` and the floor, and gives back the binaries of these and of whatever else of
/// the functions was built before, by function.
pub(crate) async fn build(
    workspace: &Workspace,
    functions: &[String],
    profile: &str,
    ui: &Ui,
) -> Result<BTreeMap<String, PathBuf>> {
    let step = ui.step(&format!("Building with the profile {profile}"));
    let format = "--message-format=json-render-diagnostics";
    let mut command = workspace.cargo(&["build", format, "--profile", profile]);
    for package in functions.iter().map(String::as_str).chain([FLOOR_PACKAGE]) {
        command.args(["--package", package]);
    }
    let built = executables(&run(&step, "cargo build", command).await?);
    let floor = built
        .get(FLOOR_PACKAGE)
        .context("the floor has no binary")?;
    let dir = floor.parent().context("a binary is in a folder")?;
    let mut binaries = BTreeMap::from([(crate::common::FLOOR.to_owned(), floor.clone())]);
    for function in workspace.functions()? {
        let binary = dir.join(&function);
        if binary.is_file() {
            binaries.insert(function, binary);
        }
    }
    step.done(&format!("{} functions", functions.len()));
    Ok(binaries)
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
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| !artifact.profile.test)
        .filter_map(|artifact| Some((artifact.target.name, artifact.executable?)))
        .collect()
}

/// Bytes of a zip's headers for one file named `bootstrap`: its own, that of the directory, and
/// the end.
const HEADERS: u64 = 30 + 46 + 22 + 2 * "bootstrap".len() as u64;

/// Bytes of the zip that SAM uploads of a binary: deflated, at zlib's default level.
pub(crate) fn zip_bytes(binary: &Path) -> Result<u64> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let mut encoder = DeflateEncoder::new(Counter(0), Compression::new(6));
    encoder.write_all(&bytes)?;
    Ok(encoder.finish()?.0 + HEADERS)
}

/// Counts what is written to it.
struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_counted_as_it_is_zipped() {
        let path = std::env::temp_dir().join(format!("bematic-bench-{}", std::process::id()));
        fs::write(&path, vec![7; 100_000]).unwrap();
        let size = zip_bytes(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(size > HEADERS && size < 1000, "{size}");
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
        let found = executables(&messages);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("batch".into(), "/t/batch".into())]
        );
    }
}
