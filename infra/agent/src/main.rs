//! `bematic-agent`: see the crate's documentation and `--help`.

use std::process::ExitCode;

use bematic_agent::{Cli, StopReason, agent, ui};
use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ready = || anyhow::Ok((cli.config()?, cli.api_key()?, stop_requests()?));
    match ready() {
        Ok((config, api_key, stops)) => {
            let exit = agent::run(config, api_key, stops, ui::choose(cli.json)).await;
            ExitCode::from(exit.exit_code())
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns a channel of requests to stop, one for each SIGTERM and SIGINT.
fn stop_requests() -> anyhow::Result<mpsc::Receiver<StopReason>> {
    let (sender, stops) = mpsc::channel(4);
    for (kind, name) in [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
    ] {
        let (mut signal, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            let stop = StopReason::Signal(name);
            while signal.recv().await.is_some() && sender.send(stop.clone()).await.is_ok() {}
        });
    }
    Ok(stops)
}
