//! Support for the tests: an agent, and a stand-in for its cloud.

mod cloud;
mod connection;

use std::{
    ffi::OsStr,
    mem,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use bematic_agent::{CommandLine, Config, Exit, Notice, Timings, Workdirs, agent};
use bematic_protocol::{
    ids::{Attempt, IdGenerator, RandomIds},
    messages::{AgentStatus, SlackContext, TaskSubmit},
};
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command, sync::mpsc, task::JoinHandle, time::timeout};

pub(crate) use self::{
    cloud::Cloud,
    connection::{Connection, ends},
};

/// Time after which a test fails.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The key that the cloud accepts.
pub(crate) const KEY: &str = "bm_good";

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bematic-agent");

/// Returns a command that starts the program, or a copy of it, for tasks whose prompts are shell
/// scripts. It has no key yet.
pub(crate) fn program(path: impl AsRef<OsStr>, url: &str, workdir: &str) -> Command {
    let mut command = Command::new(path);
    command
        .args(["--url", url, "--agent-id", "tester", "--exec", "sh"])
        .args(["--workdir", workdir])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// An agent with a connection, in a folder of its own.
pub(crate) struct Setup {
    pub(crate) cloud: Cloud,
    pub(crate) folder: TempDir,
    pub(crate) agent: Agent,
    pub(crate) connection: Connection,
    /// The first message over that connection.
    pub(crate) status: AgentStatus,
}

impl Setup {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// With an agent whose tasks run their prompt as a shell script.
    pub(crate) async fn with(options: Options) -> Self {
        Self::with_command("sh", options).await
    }

    pub(crate) async fn with_command(command: &str, options: Options) -> Self {
        let cloud = Cloud::start().await;
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent::start(command, &cloud.url(), folder.path(), options);
        let (connection, status) = cloud.connected().await;
        Self {
            cloud,
            folder,
            agent,
            connection,
            status,
        }
    }

    /// Accepts the agent's next connection in place of this one, which is dropped.
    pub(crate) async fn next_connection(&mut self) -> AgentStatus {
        let (connection, status) = self.cloud.connected().await;
        self.connection = connection;
        status
    }

    /// Waits, serving the connection, until the agent begins to open another.
    pub(crate) async fn beginning(&mut self) -> TcpStream {
        tokio::select! {
            stream = self.cloud.incoming() => stream,
            () = self.connection.serve() => panic!("the agent closed the connection"),
        }
    }

    /// Lets the new connection take the place of this one, which is returned with the first
    /// message over the new one.
    pub(crate) async fn replaced(&mut self, stream: TcpStream) -> (Connection, AgentStatus) {
        let (next, status) = Connection::with_status(stream).await;
        (mem::replace(&mut self.connection, next), status)
    }
}

/// A running agent.
pub(crate) struct Agent {
    signals: mpsc::Sender<&'static str>,
    handle: JoinHandle<Exit>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

/// Settings of a test's agent.
pub(crate) struct Options {
    pub(crate) key: &'static str,
    pub(crate) concurrency: u32,
    pub(crate) accept_plain_lines: bool,
    pub(crate) timings: Timings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key: KEY,
            concurrency: 2,
            accept_plain_lines: false,
            timings: Timings {
                flush: Duration::from_millis(20),
                grace: Duration::from_millis(500),
                reconnect: Duration::from_millis(20),
                linger: Duration::from_millis(300),
                ..Timings::default()
            },
        }
    }
}

impl Agent {
    /// Starts an agent that runs `command` for its tasks, in `folder`.
    pub(crate) fn start(command: &str, url: &str, folder: &Path, options: Options) -> Self {
        let config = Config {
            url: url.parse().unwrap(),
            agent_id: "tester".parse().unwrap(),
            command: CommandLine::parse(command).unwrap(),
            workdirs: Workdirs::new(&[folder.to_owned()]).unwrap(),
            run_as: None,
            concurrency: options.concurrency,
            accept_plain_lines: options.accept_plain_lines,
            timings: options.timings,
        };
        let notices = Arc::<Mutex<Vec<Notice>>>::default();
        let (signals, received) = mpsc::channel(4);
        let shown = notices.clone();
        let ui = Box::new(move |notice: &Notice| shown.lock().unwrap().push(notice.clone()));
        let handle = tokio::spawn(agent::run(config, options.key.into(), received, ui));
        Self {
            signals,
            handle,
            notices,
        }
    }

    pub(crate) async fn stop(&self) {
        self.signals.send("SIGTERM").await.unwrap();
    }

    /// Waits for the agent's end.
    pub(crate) async fn ended(self) -> Exit {
        timeout(TIME_LIMIT, self.handle)
            .await
            .expect("an end in time")
            .unwrap()
    }

    /// Waits for the agent's end; returns also the notices shown.
    pub(crate) async fn notices_at_end(self) -> (Exit, Vec<Notice>) {
        let notices = self.notices.clone();
        let exit = self.ended().await;
        let seen = notices.lock().unwrap().clone();
        (exit, seen)
    }

    /// The notices shown so far.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap().clone()
    }
}

/// A task whose prompt is a shell script.
pub(crate) fn task(script: &str) -> TaskSubmit {
    TaskSubmit {
        task_id: RandomIds.task(),
        attempt: Some(Attempt::FIRST),
        project_id: "project".to_owned(),
        bot_name: "bot".to_owned(),
        command: "run".to_owned(),
        prompt: script.to_owned(),
        system_prompt: "be brief".to_owned(),
        local_path: ".".to_owned(),
        model: "model".to_owned(),
        max_budget: 1.0,
        allowed_tools: vec![],
        resume_session_id: None,
        max_continuations: None,
        parent_task_id: None,
        attachments: None,
        slack_context: SlackContext {
            channel_id: "C1".parse().unwrap(),
            thread_ts: None,
            user_id: "U1".parse().unwrap(),
        },
    }
}
