//! `cargo xtask fuzz`: runs a fuzz target with libFuzzer.
//!
//! cargo-bolero does the same, but has cargo build all programs and tests of a package. Those that are no
//! fuzz targets are not linked with libFuzzer, so that the coverage's functions are missing from them.

use std::ffi::OsString;
use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use xtask::{Workspace, run};

const HELP: &str = "\
Runs a fuzz target with libFuzzer

Usage: cargo xtask fuzz <OPTIONS OF cargo test> <TEST> [-- <OPTIONS OF libFuzzer>]

  cargo xtask fuzz -p bematic-agent --lib progress_line::tests::fuzz_progress_lines -- -max_total_time=600
  cargo xtask fuzz -p bematic --test handlers fuzz::fuzz_the_webhook

It ends with the first failure; without -max_total_time, otherwise only by Ctrl-C.";

/// The flags that bolero wants, and those that have rustc count covered code for libFuzzer.
const RUSTFLAGS: &str = "--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Builds a target for libFuzzer, and runs it.
pub(crate) fn fuzz(arguments: &[OsString]) -> Result<()> {
    let arguments = arguments.get(1..).unwrap_or_default();
    let mut parts = arguments.splitn(2, |it| it == "--");
    let (selection, options) = (parts.next().unwrap_or_default(), parts.next());
    let is_help = |it: &OsString| it == "--help" || it == "-h";
    if selection.is_empty() || selection.iter().any(is_help) {
        println!("{HELP}");
        return Ok(());
    }
    // The value of an option is no test.
    let is_of_option = |it: &&OsString| {
        let before = selection.iter().rev().nth(1);
        let before = before.and_then(|it| it.to_str()).unwrap_or_default();
        *it == &selection[0] || ["-p", "--package", "--test", "--bin"].contains(&before)
    };
    let test = selection.last().filter(|it| !is_of_option(it));
    let test = test
        .and_then(|it| it.to_str())
        .filter(|it| !it.starts_with('-'));
    let Some(test) = test else {
        bail!("name the package and the test: `cargo xtask fuzz --help` has examples");
    };
    let workspace = Workspace::find()?;
    let corpus = workspace
        .join("target/fuzz/corpus")
        .join(test.replace("::", "-"));
    fs::create_dir_all(&corpus).with_context(|| format!("no folder {}", corpus.display()))?;
    // An input that fails is kept in the corpus, too: the next run begins with it.
    let mut fuzzer = OsString::from(format!("{0} -artifact_prefix={0}/", corpus.display()));
    for option in options.unwrap_or_default() {
        fuzzer.push(" ");
        fuzzer.push(option);
    }
    let cargo = |options: &[&str]| {
        let mut cargo = workspace.cargo_command(&["test", "--locked", "--profile", "fuzz"]);
        cargo
            // With a named target, the flags are not those of build scripts and macros.
            .args(["--target", "host-tuple", "--target-dir", "target/fuzz"])
            .args(selection)
            .args(["--", "--exact"])
            .args(options)
            .env("RUSTFLAGS", RUSTFLAGS)
            .env("BOLERO_LIBFUZZER_ARGS", &fuzzer);
        cargo
    };
    let listed = cargo(&["--list"]).stderr(Stdio::inherit()).output();
    let listed = listed.context("cargo test could not be started")?;
    if !listed.status.success() {
        bail!("cargo test failed ({})", listed.status);
    }
    if !String::from_utf8_lossy(&listed.stdout).contains(": test") {
        bail!("there is no test `{test}` there; give its name with its modules");
    }
    run(
        "cargo test",
        &mut cargo(&["--nocapture", "--test-threads", "1"]),
    )
}
