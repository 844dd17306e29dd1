//! The reference agent, as its owner starts it.

use std::env;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{LIMIT, Test};

/// A running `bematic-agent`; killed when dropped.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts it for the test's agent; `command` does the tasks.
    pub(crate) fn start(test: &Test, command: &str) -> Self {
        Self::start_at(&test.stack.websocket_url, test, command)
    }

    /// Starts it with another address to connect to.
    pub(crate) fn start_at(url: &str, test: &Test, command: &str) -> Self {
        let agent = binary();
        let child = Command::new(&agent)
            .args(["--url", url, "--agent-id", &test.agent_id])
            .args(["--exec", command, "--json", "--workdir"])
            .arg(test.folder.path())
            .env("BEMATIC_API_KEY", &test.api_key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        Self {
            child: child.unwrap_or_else(|error| panic!("{}: {error}", agent.display())),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let id = self.child.id().expect("a running agent");
        let id = Pid::from_raw(id.try_into().expect("a process id"));
        kill(id, Signal::SIGTERM).expect("a process to end");
        let ended = timeout(LIMIT, self.child.wait()).await;
        ended
            .expect("it ends in time")
            .expect("it can be waited for")
    }
}

/// Beside the folder of this test's own binary.
fn binary() -> PathBuf {
    let own = env::current_exe().expect("a path");
    let folder = own
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a target folder");
    let agent = folder.join("bematic-agent");
    assert!(
        agent.is_file(),
        "no bematic-agent: run `cargo build -p bematic-agent`"
    );
    agent
}
