//! `bematic-agent`: see the crate's documentation and `--help`.

use std::process::ExitCode;

use bematic_agent::{Cli, agent, ui};
use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Of an error, the values that it repeats may hold anything.
        Err(error) if error.use_stderr() => {
            ui::print_error(&error.to_string());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    let ready = || anyhow::Ok((cli.config()?, cli.api_key()?, stop_signals()?));
    match ready() {
        Ok((config, api_key, signals)) => {
            let exit = agent::run(config, api_key, signals, ui::choose(cli.json)).await;
            ExitCode::from(exit as u8)
        }
        Err(error) => {
            ui::print_error(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Returns a channel of the names of the signals that arrive, SIGTERM and SIGINT.
fn stop_signals() -> anyhow::Result<mpsc::Receiver<&'static str>> {
    let (sender, signals) = mpsc::channel(4);
    for (kind, name) in [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
    ] {
        let (mut signal, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while signal.recv().await.is_some() && sender.send(name).await.is_ok() {}
        });
    }
    Ok(signals)
}
