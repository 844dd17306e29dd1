//! `bematic`, the administration command.

use std::io::{self, Write as _};
use std::process::ExitCode;

use bematic_admin::cli::Cli;
use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().run(print).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a command's output. A closed pipe is an error, not a panic: the command's change has yet to be
/// recorded.
fn print(output: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{output}")?;
    stdout.flush()
}
