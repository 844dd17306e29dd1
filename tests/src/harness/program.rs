//! The reference agent, as its owner starts it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{LIMIT, Test};

/// A running `bematic-agent`; killed when dropped.
pub(crate) struct Program {
    child: Child,
    /// What it tells, a JSON line each.
    told: NamedTempFile,
}

impl Program {
    /// Starts it for the test's agent; `command` does the tasks.
    pub(crate) fn start(test: &Test, command: &str) -> Self {
        Self::start_with(test, command, &[])
    }

    /// The same, with further options.
    pub(crate) fn start_with(test: &Test, command: &str, options: &[&str]) -> Self {
        Self::start_at(&test.stack.websocket_url, test, command, options)
    }

    /// Starts it with another address to connect to.
    pub(crate) fn start_at(url: &str, test: &Test, command: &str, options: &[&str]) -> Self {
        let agent = binary("bematic-agent");
        let told = NamedTempFile::new().expect("a file");
        let stdout = told.reopen().expect("a file");
        let child = Command::new(&agent)
            .args(["--url", url, "--agent-id", &test.agent_id])
            .args(["--exec", command, "--json", "--workdir"])
            .arg(test.folder.path())
            .args(options)
            .env("BEMATIC_API_KEY", &test.api_key)
            .stdin(Stdio::null())
            .stdout(stdout)
            .kill_on_drop(true)
            .spawn();
        Self {
            child: child.unwrap_or_else(|error| panic!("{}: {error}", agent.display())),
            told,
        }
    }

    /// What it has told so far of one kind.
    pub(crate) fn told(&self, event: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.told.path()).expect("a file");
        // The last line may be half written.
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).expect("JSON from the agent"))
            .filter(|told: &Value| told["event"] == event)
            .collect()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.ask_to_stop();
        self.stopped().await
    }

    /// Asks it to end.
    pub(crate) fn ask_to_stop(&self) {
        let id = self.child.id().expect("a running agent");
        let id = Pid::from_raw(id.try_into().expect("a process id"));
        kill(id, Signal::SIGTERM).expect("a process to end");
    }

    /// Waits until it has ended.
    pub(crate) async fn stopped(&mut self) -> ExitStatus {
        let ended = timeout(LIMIT, self.child.wait()).await;
        ended
            .expect("it ends in time")
            .expect("it can be waited for")
    }
}

/// A program of the workspace: beside the folder of this test's own binary.
pub(crate) fn binary(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a path");
    let folder = own
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a target folder");
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "no {name}: run `cargo build --bin {name}`"
    );
    program
}
