//! `bematic-agent`: see the crate's documentation and `--help`.

use std::{env, process::ExitCode};

use bematic_agent::{Cli, Config, LAUNCH_ARGUMENT, agent, launch, ui};
use clap::Parser;
use secrecy::SecretString;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|it| it == LAUNCH_ARGUMENT) {
        let (code, error) = launch(arguments);
        ui::print_error(&error);
        return ExitCode::from(code);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Of an error, the values that it repeats may hold anything.
        Err(error) if error.use_stderr() => {
            ui::print_error(&error.to_string());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    let ready = || anyhow::Ok((cli.config()?, cli.api_key()?));
    let exit = ready().and_then(|(config, api_key)| run(config, api_key, cli.json));
    exit.unwrap_or_else(|error| {
        ui::print_error(&format!("error: {error:#}"));
        ExitCode::from(2)
    })
}

#[tokio::main(flavor = "current_thread")]
async fn run(config: Config, api_key: SecretString, json: bool) -> anyhow::Result<ExitCode> {
    let signals = stop_signals()?;
    let exit = agent::run(config, api_key, signals, ui::choose(json)).await;
    Ok(ExitCode::from(exit as u8))
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
