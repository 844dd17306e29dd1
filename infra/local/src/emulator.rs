//! The AWS emulator: a process that keeps everything in memory and runs the functions' binaries.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::process::{log_path, read_recorded_processes};
use crate::run::last_lines;
use crate::session::Session;

/// The region that the local stack is in.
pub(crate) const REGION: &str = "us-east-1";
/// The time that the emulator has to answer for the first time.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const HEALTH_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Lines of the emulator's log that explain why it did not start.
const FAILURE_LOG_LINES: usize = 30;

/// Starts an emulator on `port`, waits until it answers, and returns the address of every AWS service.
/// Its functions call AWS at `aws`.
pub(crate) async fn start(session: &mut Session<'_>, port: u16, aws: &str) -> Result<String> {
    let step = session.ui.begin_step("Starting the AWS emulator");
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(session.workspace.tool_path("ministack"));
    // The functions inherit this environment, so it is a clean one; for the emulator itself, the
    // address of AWS has no meaning.
    command
        .current_dir(&session.dir)
        .env_clear()
        .envs(aws_client_environment(aws))
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", session.dir.join("tmp"))
        .env("TMPDIR", session.dir.join("tmp"))
        .env("GATEWAY_PORT", port.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("MINISTACK_HOST", "127.0.0.1")
        // Of no use here, and each takes a port of its own.
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        // Lambda sets these from the function's configuration, the emulator does not.
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_LOG_LEVEL", "INFO");
    session.processes.start("emulator", command)?;
    let health = format!("{endpoint}/_ministack/health");
    let ready = async {
        while !reqwest::get(&health)
            .await
            .is_ok_and(|it| it.status().is_success())
        {
            if read_recorded_processes(&session.dir)?
                .last()
                .is_none_or(|it| !it.is_alive())
            {
                bail!("it ended");
            }
            sleep(HEALTH_POLL_INTERVAL).await;
        }
        Ok(())
    };
    let ready = timeout(START_TIMEOUT, ready)
        .await
        .context("it does not answer");
    if let Err(error) = ready.flatten() {
        let log = std::fs::read_to_string(log_path(&session.dir, "emulator")).unwrap_or_default();
        bail!(
            "the emulator did not start: {error:#}\n{}",
            last_lines(&log, FAILURE_LOG_LINES)
        );
    }
    step.succeed(&endpoint);
    Ok(endpoint)
}

/// Returns the environment of a program that calls the emulator, whatever the developer's own configuration is.
pub(crate) fn aws_client_environment(endpoint: &str) -> [(&'static str, &str); 9] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ]
}

/// Returns the wanted port, or, for 0, one that nothing listens on now.
pub(crate) async fn choose_port(wanted: u16) -> Result<u16> {
    if wanted != 0 {
        return Ok(wanted);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
