//! What is answered without building anything.

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).output().unwrap()
}

#[test]
fn the_help_names_every_task() {
    let output = xtask(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let tasks = [
        "up",
        "down",
        "test",
        "chaos",
        "bench",
        "simulate",
        "check",
        "fuzz",
        "deploy",
        "sbom",
        "agent",
        "project",
        "dead-letters",
    ];
    for task in tasks {
        assert!(help.contains(&format!("\n  {task} ")), "{task}: {help}");
    }
}

#[test]
fn a_task_that_there_is_not_is_an_error_of_usage() {
    for arguments in [&["build"][..], &[]] {
        assert_eq!(xtask(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output = xtask(&["check", "--fix"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("takes no arguments")
    );
}
