//! The AWS emulator: a process that keeps everything in memory and runs the functions' binaries.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use xtask::Workspace;

use crate::paths::StackDir;
use crate::process::{Processes, recorded};
use crate::run::last_lines;
use crate::ui::Ui;

/// The region that the local stack is in.
pub const REGION: &str = "us-east-1";
/// How long the emulator may take to answer for the first time.
const START: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(100);
/// Lines of the emulator's log that explain why it did not start.
const LOG_LINES: usize = 30;

/// A running emulator.
#[derive(Debug, Clone)]
pub struct Emulator {
    port: u16,
}

impl Emulator {
    /// Starts one on `port` and waits until it answers. Its functions call AWS at `aws`.
    pub async fn start(
        workspace: &Workspace,
        dir: &StackDir,
        processes: &mut Processes,
        port: u16,
        aws: &str,
        ui: &Ui,
    ) -> Result<Self> {
        let step = ui.step("Starting the AWS emulator");
        let emulator = Self { port };
        let log = dir.log("emulator");
        let command = emulator.command(workspace, dir, aws);
        processes.start("the emulator", command, &log)?;
        if let Err(error) = timeout(START, emulator.ready(dir))
            .await
            .context("it does not answer")
            .flatten()
        {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            bail!(
                "the emulator did not start: {error:#}\n{}",
                last_lines(&log, LOG_LINES)
            );
        }
        step.done(&emulator.endpoint());
        Ok(emulator)
    }

    /// The address of every AWS service.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a program that speaks to AWS needs to speak to the emulator, whatever the developer's
    /// own AWS configuration is.
    pub fn environment(endpoint: &str) -> [(&'static str, String); 9] {
        [
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        ]
    }

    /// The functions inherit this environment, so it is a clean one; for the emulator itself,
    /// where AWS is has no meaning.
    fn command(&self, workspace: &Workspace, dir: &StackDir, aws: &str) -> Command {
        let mut command = Command::new(workspace.tool("ministack"));
        command
            .current_dir(dir.path())
            .env_clear()
            .envs(Self::environment(aws))
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir.tmp())
            .env("TMPDIR", dir.tmp())
            .env("GATEWAY_PORT", self.port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            // Of no use here, and each takes a port of its own.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            // Lambda sets these from the function's configuration, the emulator does not.
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_LAMBDA_LOG_LEVEL", "INFO");
        command
    }

    async fn ready(&self, dir: &StackDir) -> Result<()> {
        let health = format!("{}/_ministack/health", self.endpoint());
        loop {
            if reqwest::get(&health)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            if recorded(dir)?
                .last()
                .is_none_or(|process| !process.is_alive())
            {
                bail!("it ended");
            }
            sleep(POLL).await;
        }
    }
}

/// The port that is asked for, or, for 0, one that nothing listens on now.
pub async fn port(wanted: u16) -> Result<u16> {
    if wanted != 0 {
        return Ok(wanted);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
