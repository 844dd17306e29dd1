//! `bematic-local`: the tasks of `cargo xtask` that need a local stack.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match bematic_local::execute().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
