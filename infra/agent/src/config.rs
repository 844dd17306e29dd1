//! The command line, and the configuration that it makes.

use std::{path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use bematic_protocol::{ids::AgentId, messages::limits::MAX_CAPACITY};
use clap::Parser;
use secrecy::SecretString;
use url::{Host, Url};

use crate::{
    key,
    run::{CommandLine, RunAs},
    workdir::Workdirs,
};

/// Runs a command of your choice for the tasks of a Bematic cloud.
///
/// The API key comes from --api-key-file, BEMATIC_API_KEY or the systemd credential
/// bematic-api-key. A command gets the task's prompt on standard input, its fields as BEMATIC_…
/// variables, and works in the task's folder.
///
/// Exit codes: 0 stopped, 2 wrong usage, 3 the key was refused, 75 the cloud asked for a restart.
#[derive(Debug, Parser)]
#[command(name = "bematic-agent", version, verbatim_doc_comment)]
pub struct Cli {
    /// The cloud's WebSocket address, wss://…
    // A text: of an address that cannot be parsed, clap's error would repeat all, the password too.
    #[arg(long, env = "BEMATIC_URL", hide_env_values = true)]
    url: String,
    /// This agent's id, as it was created
    #[arg(long, env = "BEMATIC_AGENT_ID")]
    agent_id: AgentId,
    /// Let the key and all messages travel unencrypted, to another machine than this one
    #[arg(long)]
    insecure: bool,
    /// A file that holds the API key; - is standard input
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// The command that does a task, quoted as for a shell (use sh -c '…' for pipes)
    #[arg(long, value_name = "COMMAND")]
    exec: String,
    /// Run the command as another user, who cannot read the agent's key; needs root
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// A folder that tasks may work in, with all below it; repeatable
    #[arg(long, value_name = "DIR", required = true)]
    workdir: Vec<PathBuf>,
    /// How many tasks run at once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CAPACITY)))]
    concurrency: u32,
    /// Accept '::bematic' lines without the run's nonce, as any printed file might hold
    #[arg(long)]
    accept_plain_lines: bool,
    /// Tell what happens as JSON lines on standard output
    #[arg(long)]
    pub json: bool,
    /// Seconds that running tasks may take to finish when the agent is stopped
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    drain_timeout: Duration,
    /// Seconds that a command has to end when its task is cancelled, before it is killed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    kill_grace: Duration,
    /// Seconds after which a connection is replaced by a new one; for tests
    #[arg(long, value_name = "SECONDS", hide = true, value_parser = parse_seconds)]
    renew_after: Option<Duration>,
}

impl Cli {
    /// Returns the configuration, with all checks that are possible before connecting. An error
    /// says what to do.
    pub fn config(&self) -> anyhow::Result<Config> {
        let url = Url::parse(&self.url).map_err(|error| anyhow!("--url is no address: {error}"))?;
        if !["ws", "wss"].contains(&url.scheme()) {
            bail!(
                "--url is no WebSocket address; it begins with wss:// (or ws:// for a local stack)"
            );
        }
        if url.scheme() == "ws" && !self.insecure && !is_loopback(&url) {
            bail!(
                "--url is unencrypted and leads to another machine, where everybody in between could read \
                 the key; use wss://, or --insecure in a network that you trust"
            );
        }
        let defaults = Timings::default();
        Ok(Config {
            url,
            agent_id: self.agent_id.clone(),
            command: CommandLine::parse(&self.exec)?,
            workdirs: Workdirs::new(&self.workdir)?,
            run_as: self.run_as.as_deref().map(RunAs::new).transpose()?,
            concurrency: self.concurrency,
            accept_plain_lines: self.accept_plain_lines,
            timings: Timings {
                drain: self.drain_timeout,
                grace: self.kill_grace,
                renew: self.renew_after.unwrap_or(defaults.renew),
                ..defaults
            },
        })
    }

    /// Returns the API key, and keeps other processes from reading it: it is not in this process's
    /// environment, if need be because the program has started anew. An error says what to do.
    pub fn api_key(&self) -> anyhow::Result<SecretString> {
        key::protect_process()?;
        let api_key = key::read(self.api_key_file.as_deref())?;
        key::leave_environment(self.api_key_file.as_deref(), &api_key)?;
        Ok(api_key)
    }
}

/// Returns whether an address leads to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Parses seconds, up to a day.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds from 0 to 86400".to_owned()),
    }
}

/// The configuration of an agent, without its API key, which the connection alone needs.
pub struct Config {
    /// The cloud's WebSocket.
    pub url: Url,
    /// The agent's id.
    pub agent_id: AgentId,
    /// The command that every task runs.
    pub command: CommandLine,
    /// The user that commands run as, if not the agent's.
    pub run_as: Option<RunAs>,
    /// The folders in which tasks may work.
    pub workdirs: Workdirs,
    /// The number of tasks that run at once; as many may wait.
    pub concurrency: u32,
    /// Whether progress lines without the run's nonce are accepted.
    pub accept_plain_lines: bool,
    /// Waits and limits of time.
    pub timings: Timings,
}

/// Returns an address as it may be shown: user, password, query and fragment might be secrets.
pub(crate) fn url_without_secrets(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail for an address without a host only; a WebSocket address has one.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Waits and limits of time.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Silence after which a connection counts as dead: three heartbeats.
    pub silence: Duration,
    /// Time that output may wait for more, to go in one message.
    pub flush: Duration,
    /// Time between asking a command to end and forcing it.
    pub grace: Duration,
    /// Time that running tasks may take to finish when the agent is asked to stop.
    pub drain: Duration,
    /// Time until an unconfirmed terminal message is sent again; doubles each time.
    pub resend: Duration,
    /// Time until a message that the cloud could not handle is sent again; doubles each time, up to
    /// a minute.
    pub retry: Duration,
    /// The longest wait before the first reconnection; doubles each time, up to a minute.
    pub reconnect: Duration,
    /// Age at which a connection is replaced by a new one, up to a tenth later at random: API
    /// Gateway ends it at 2 h.
    pub renew: Duration,
    /// Time that a replaced connection is still read, unless the cloud closes it before.
    pub linger: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            silence: Duration::from_mins(1),
            flush: Duration::from_millis(300),
            grace: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            resend: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            reconnect: Duration::from_secs(1),
            renew: Duration::from_mins(105),
            linger: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    fn config(url: &str, key: &str) -> anyhow::Result<Config> {
        config_with(url, key, &[])
    }

    fn config_with(url: &str, key: &str, options: &[&str]) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("key");
        fs::write(&file, key)?;
        let file = file.to_string_lossy();
        let folder = folder.path().to_string_lossy();
        let required = [
            "bematic-agent",
            "--url",
            url,
            "--agent-id",
            "a",
            "--exec",
            "cat",
            "--workdir",
            &folder,
            "--api-key-file",
            &file,
        ];
        let cli = Cli::try_parse_from(required.iter().chain(options))?;
        key::read(cli.api_key_file.as_deref())?;
        cli.config()
    }

    #[test]
    fn a_key_file_may_end_with_a_newline() {
        assert!(config("ws://localhost:1/x", "bm_00\n").is_ok());
    }

    #[test]
    fn mistakes_are_explained_before_connecting() {
        let explain = |url, key| config(url, key).err().unwrap().to_string();
        assert!(explain("https://localhost", "k").contains("wss://"));
        assert!(explain("ws://localhost", "two words").contains("bm_"));
        assert!(explain("ws://localhost", "").contains("bm_"));
    }

    #[test]
    fn a_key_does_not_travel_unencrypted_to_another_machine() {
        for here in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:1",
        ] {
            let address = format!("ws://{here}/x");
            assert!(config(&address, "bm_00").is_ok(), "{address}");
        }
        for there in [
            "host",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "localhost.example",
            "127.0.0.1.example",
            "localhost@host",
        ] {
            let address = format!("ws://{there}/x");
            let refused = config(&address, "bm_00").err().unwrap().to_string();
            assert!(refused.contains("wss://") && refused.contains("--insecure"));
            assert!(config_with(&address, "bm_00", &["--insecure"]).is_ok());
            assert!(config(&format!("wss://{there}/x"), "bm_00").is_ok());
        }
    }

    #[test]
    fn an_address_that_is_refused_is_not_repeated() {
        for address in [
            "wss://user:SECRET@host:99999/ws?key=SECRET",
            "wss://user:SECRET@/x?key=SECRET",
            "wss://u:SECRET@ho st/",
            "file://u:SECRET/x",
            "user:SECRET@host/ws",
            "data:SECRET",
            "SECRET:x@host/ws",
        ] {
            let error = format!("{:#}", config(address, "bm_00").err().unwrap());
            assert!(
                error.contains("--url") && !error.to_lowercase().contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_is_shown_without_secrets() {
        for (address, shown) in [
            ("wss://user:pass@host:8443/ws?key=1#x", "wss://host:8443/ws"),
            ("wss://host/ws", "wss://host/ws"),
        ] {
            assert_eq!(url_without_secrets(&address.parse().unwrap()), shown);
        }
    }
}
