//! `bematic-agent`: see the crate's documentation and `--help`.

use std::process::ExitCode;

use bematic_agent::{StopReason, agent, cli::Cli, ui};
use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let (config, stops) = match cli.config().and_then(|config| Ok((config, stops()?))) {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    let exit = agent::run(config, stops, ui::choose(cli.json)).await;
    ExitCode::from(exit.exit_code())
}

/// Returns a channel of requests to stop, one for each SIGTERM and SIGINT.
fn stops() -> anyhow::Result<mpsc::Receiver<StopReason>> {
    let (sender, stops) = mpsc::channel(4);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                else => return,
            };
            if sender.send(StopReason::Signal(name)).await.is_err() {
                return;
            }
        }
    });
    Ok(stops)
}
