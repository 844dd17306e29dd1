//! `cargo xtask …`: every task that a developer or CI runs.
//!
//! A task that needs more than the standard library is done by a program of its own, which is built first
//! and gets the task with all its arguments. Cargo compiles a dependency anew whenever another selection
//! of packages turns on other features of it; so each build is of some programs or tests of the whole
//! workspace, as a bare `cargo build` selects it.

mod check;
mod circles;
mod deploy;
mod fuzz;
mod sbom;
mod venv;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use venv::Tools;
use xtask::{Workspace, run, sibling};

const HELP: &str = "\
The tasks of this project

Usage: cargo xtask <TASK> [ARGUMENTS]

Tasks:
  up            Run the whole system on this machine, with a sample agent and a sample task
  down          End what `up` left running
  test          Run unit, property and end-to-end tests
  chaos         Let failures loose on a local stack, and see that nothing is lost and nothing run twice
  bench         Measure how fast the functions start and work, what they call, and what a task costs
  simulate      Simulate many agents and tasks in virtual time, and see that a task's cost stays the same
  check         Circles of modules, formatting, lints, dependencies and the template
  fuzz          Run a fuzz target with libFuzzer, which looks for inputs that reach new code
  deploy        Build for AWS and deploy
  sbom          List what the programs are made of, in the format CycloneDX
  agent         Create agents, list them, rotate and revoke their keys, set their circuit breakers
  project       Bind channels to projects, edit, list and delete them
  dead-letters  List what the functions gave up on, and have it tried again

`cargo xtask <TASK> --help` says what a task can be told.";

/// The exit status of a command line that is not understood.
const USAGE_EXIT_STATUS: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let task = arguments.first().and_then(|task| task.to_str());
    match task.unwrap_or("help") {
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            ExitCode::from(if task.is_some() { 0 } else { USAGE_EXIT_STATUS })
        }
        task => match execute(task, &arguments) {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(error)) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
            None => {
                eprintln!("error: there is no task {task}\n\n{HELP}");
                ExitCode::from(USAGE_EXIT_STATUS)
            }
        },
    }
}

/// Does a task, `None` if there is none of this name.
fn execute(task: &str, arguments: &[OsString]) -> Option<Result<()>> {
    let program = match task {
        "up" | "down" | "test" | "chaos" => "bematic-local",
        "bench" | "simulate" => "bematic-bench",
        "agent" | "project" | "dead-letters" => "bematic",
        "check" => return Some(check::check(arguments)),
        "fuzz" => return Some(fuzz::fuzz(arguments)),
        "deploy" => return Some(deploy::deploy(arguments)),
        "sbom" => return Some(sbom::sbom(arguments)),
        _ => return None,
    };
    Some(build_and_exec(task, program, arguments))
}

/// Prints the help of a task without options, or refuses its argument.
fn explain_without_options(task: &str, argument: &OsStr, help: &str) -> Result<()> {
    if argument != "--help" && argument != "-h" {
        bail!(
            "`cargo xtask {task}` takes no arguments, not {}",
            argument.display()
        );
    }
    println!("{help}");
    Ok(())
}

/// Builds a program and what its task needs, as a bare `cargo build` would build them, and becomes it:
/// signals, the terminal and the exit status are the program's own.
fn build_and_exec(task: &str, program: &str, arguments: &[OsString]) -> Result<()> {
    let workspace = Workspace::find()?;
    let mut cargo = workspace.cargo_command(&["build", "--locked"]);
    let explains = arguments.iter().any(|it| it == "--help" || it == "-h");
    let needs_stack = !explains && ["up", "chaos", "test"].contains(&task);
    if needs_stack && task == "test" {
        cargo.arg("--all-targets");
    } else {
        cargo.args(["--bin", program]);
        if needs_stack {
            cargo.args(["--bin", "bematic-agent"]);
            let functions = workspace.function_names()?;
            cargo.args(functions.iter().flat_map(|function| ["--bin", function]));
        }
    }
    let mut build = || run("cargo build", &mut cargo);
    if needs_stack {
        venv::ensure_during(&workspace, &[Tools::Stack], build)?;
    } else {
        build()?;
    }
    let error = Command::new(sibling(program)?).args(arguments).exec();
    Err(error).with_context(|| format!("{program} could not be started"))
}
