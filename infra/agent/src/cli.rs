//! The command line.

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use bematic_protocol::{ids::AgentId, messages::limits::CAPACITY};
use clap::Parser;
use secrecy::SecretString;
use url::Url;

use crate::{
    config::{Config, Timings, without_secrets},
    run::CommandLine,
    workdir::Workdirs,
};

/// The variable that holds the API key. There is no option for it: all users can see command lines.
const API_KEY: &str = "BEMATIC_API_KEY";

/// Runs a command of your choice for the tasks of a Bematic cloud.
///
/// The API key comes from BEMATIC_API_KEY or --api-key-file. A command gets the task's prompt on
/// standard input, its fields as BEMATIC_… variables, and works in the task's folder.
///
/// Exit codes: 0 stopped, 2 wrong usage, 3 the key was refused, 75 the cloud asked for a restart.
#[derive(Debug, Parser)]
#[command(name = "bematic-agent", version, verbatim_doc_comment)]
pub struct Cli {
    /// The cloud's WebSocket address, wss://…
    #[arg(long, env = "BEMATIC_URL")]
    url: Url,
    /// This agent's id, as it was created
    #[arg(long, env = "BEMATIC_AGENT_ID")]
    agent_id: AgentId,
    /// A file that holds the API key; without it, BEMATIC_API_KEY does
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// The command that does a task, quoted as for a shell (use sh -c '…' for pipes)
    #[arg(long, value_name = "COMMAND")]
    exec: String,
    /// A folder that tasks may work in, with all below it; repeatable
    #[arg(long, value_name = "DIR", required = true)]
    workdir: Vec<PathBuf>,
    /// How many tasks run at once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=i64::from(CAPACITY)))]
    concurrency: u32,
    /// Tell what happens as JSON lines on standard output
    #[arg(long)]
    pub json: bool,
    /// Seconds that running tasks may take to finish when the agent is stopped
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    drain_timeout: Duration,
    /// Seconds that a command has to end when its task is cancelled, before it is killed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    kill_grace: Duration,
    /// Seconds after which a connection is replaced by a new one; for tests
    #[arg(long, value_name = "SECONDS", hide = true, value_parser = seconds)]
    renew_after: Option<Duration>,
}

impl Cli {
    /// Returns the configuration, with all checks that are possible before connecting.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn config(&self) -> anyhow::Result<Config> {
        if !["ws", "wss"].contains(&self.url.scheme()) || self.url.host().is_none() {
            bail!(
                "--url {} is no WebSocket address; it begins with wss:// (or ws:// for a local stack)",
                without_secrets(&self.url)
            );
        }
        let defaults = Timings::default();
        Ok(Config {
            url: self.url.clone(),
            agent_id: self.agent_id.clone(),
            api_key: self.api_key()?,
            command: CommandLine::parse(&self.exec)?,
            workdirs: Workdirs::new(&self.workdir)?,
            concurrency: self.concurrency,
            timings: Timings {
                drain: self.drain_timeout,
                grace: self.kill_grace,
                renew: self.renew_after.unwrap_or(defaults.renew),
                ..defaults
            },
        })
    }

    fn api_key(&self) -> anyhow::Result<SecretString> {
        let key = match &self.api_key_file {
            Some(file) => fs::read_to_string(file)
                .with_context(|| format!("--api-key-file {} cannot be read", file.display()))?,
            None => env::var(API_KEY).with_context(|| {
                format!(
                    "there is no API key; put it into {API_KEY} or a file named by --api-key-file"
                )
            })?,
        };
        let key = key.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
            bail!("the API key is not one: it is 'bm_' and 64 hexadecimal digits on one line");
        }
        Ok(SecretString::from(key))
    }
}

/// Parses seconds, up to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds from 0 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    fn config(url: &str, key: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("key");
        fs::write(&file, key)?;
        let file = file.to_string_lossy();
        let folder = folder.path().to_string_lossy();
        Cli::try_parse_from([
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
        ])?
        .config()
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
}
