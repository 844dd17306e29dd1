//! The AWS emulator: a process that keeps everything in memory and runs the functions' binaries.
//!
//! It listens on a Unix socket, which no web page can open: the edge is the only way to it. Its
//! authentication is on, with an access key of the stack's own, so that a function may do what the
//! template lets its role do, and nothing else.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::TryRng as _;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::process::{log_path, read_recorded_processes};
use crate::run::last_lines;
use crate::session::Session;

/// The region that the local stack is in.
pub(crate) const REGION: &str = "us-east-1";
/// The program that runs the emulator, from the checkout's root.
const PROGRAM: &str = "infra/local/emulator.py";
/// The time that the emulator has to answer for the first time.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const START_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Lines of the emulator's log that explain why it did not start.
const FAILURE_LOG_LINES: usize = 30;

/// An access key of the emulator's account.
#[derive(Debug, Clone)]
pub(crate) struct AccessKey {
    pub(crate) id: SecretString,
    pub(crate) secret: SecretString,
}

impl AccessKey {
    /// Returns a new key.
    pub(crate) fn random() -> Result<Self> {
        // Unlike the ids of AWS's own keys, so that nobody takes it for one.
        let id = format!("LOCAL{}", random_hex::<16>()?.to_uppercase());
        let secret = random_hex::<32>()?;
        Ok(Self {
            id: id.into(),
            secret: secret.into(),
        })
    }
}

/// Returns so many random bytes, in hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    let random = SysRng.try_fill_bytes(&mut bytes);
    random.context("the system has no random numbers")?;
    Ok(hex::encode(bytes))
}

/// Starts the emulator on a Unix socket, and returns once it listens. `port` is the port of
/// 127.0.0.1 at which functions and tools reach it.
pub(crate) async fn start(
    session: &mut Session<'_>,
    socket: &Path,
    port: u16,
    key: &AccessKey,
) -> Result<()> {
    let step = session.ui.begin_step("Starting the AWS emulator");
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(session.workspace.tool_path("python"));
    // The functions inherit this environment, so it is a clean one; for the emulator itself, the
    // address of AWS has no meaning.
    command
        .arg(session.workspace.join(PROGRAM))
        .arg(socket)
        .current_dir(&session.dir)
        .env_clear()
        .envs(aws_client_environment(&endpoint, key))
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", session.dir.join("tmp"))
        .env("TMPDIR", session.dir.join("tmp"))
        .env("AUTH", "true")
        // Of the addresses that it tells: the queues', and the deployed APIs'.
        .env("GATEWAY_PORT", port.to_string())
        .env("MINISTACK_HOST", "127.0.0.1")
        // Of no use here, and each takes a port of its own.
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        // Lambda sets these from the function's configuration, the emulator does not.
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_LOG_LEVEL", "INFO");
    session.processes.start("emulator", command)?;
    let ready = async {
        while UnixStream::connect(socket).await.is_err() {
            if read_recorded_processes(&session.dir)?
                .last()
                .is_none_or(|it| !it.is_alive())
            {
                bail!("it ended");
            }
            sleep(START_POLL_INTERVAL).await;
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
    Ok(())
}

/// Returns the environment of a program that calls the emulator, whatever the developer's own configuration is.
pub(crate) fn aws_client_environment<'a>(
    endpoint: &'a str,
    key: &'a AccessKey,
) -> [(&'static str, &'a str); 9] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", key.id.expose_secret()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.expose_secret()),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_are_the_same() {
        let keys = [(); 2].map(|()| AccessKey::random().unwrap());
        let [id, other] = keys.each_ref().map(|key| key.id.expose_secret());
        assert_ne!(id, other);
        assert_eq!(id.len(), "LOCAL".len() + 32);
        let [secret, other] = keys.each_ref().map(|key| key.secret.expose_secret());
        assert_ne!(secret, other);
        assert_eq!(secret.len(), 64);
    }
}
