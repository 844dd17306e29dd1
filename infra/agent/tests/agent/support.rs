//! A stand-in for the cloud: a WebSocket server that a test scripts, and that enforces API
//! Gateway's limits on frames and messages.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bematic::{
    ids::{Attempt, Ids, RandomIds, TaskId},
    protocol::{
        AgentMessage, AgentStatus, CloudMessage, Envelope, MessageAck, SlackContext, Spelling,
        TaskCancel, TaskSubmit, decode, limits,
    },
    time::{Clock, SystemClock},
};
use bematic_agent::{
    agent,
    config::{Config, Timings},
    event::Ending,
    run::CommandLine,
    session::StopReason,
    ui::{Notice, Ui},
    workdir::Workdirs,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::WebSocketConfig,
    },
};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The key that the cloud accepts.
pub(crate) const KEY: &str = "bm_good";

/// The listening side.
pub(crate) struct Cloud {
    listener: TcpListener,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    /// Listens at an address that was free a moment ago.
    pub(crate) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { listener }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/dev", self.listener.local_addr().unwrap())
    }

    /// Accepts the next connection, with its AGENT_STATUS, which comes first.
    pub(crate) async fn connected(&self) -> (Connection, AgentStatus) {
        let mut connection = self.accept().await.expect("the handshake");
        let AgentMessage::AgentStatus(status) = connection.next().await.message else {
            panic!("the first message is not AGENT_STATUS");
        };
        (connection, status)
    }

    /// Accepts the next connection if its key is good, else refuses it with 401.
    pub(crate) async fn accept(&self) -> Option<Connection> {
        let (stream, _) = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("a connection in time")
            .unwrap();
        let config = WebSocketConfig::default()
            .max_frame_size(Some(limits::FRAME_BYTES))
            .max_message_size(Some(limits::MESSAGE_BYTES));
        let socket = accept_hdr_async_with_config(stream, authorize, Some(config))
            .await
            .ok()?;
        Some(Connection {
            socket,
            confirms: true,
            early: VecDeque::new(),
        })
    }
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
fn authorize(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    let good = format!("Bearer {KEY}");
    if header("authorization") == Some(&good) && header("x-agent-id") == Some("tester") {
        return Ok(response);
    }
    let refusal = Response::builder().status(401).body(None).unwrap();
    Err(refusal)
}

/// A connected agent.
pub(crate) struct Connection {
    socket: WebSocketStream<TcpStream>,
    /// Whether results are confirmed as they come.
    pub(crate) confirms: bool,
    early: VecDeque<Envelope<AgentMessage>>,
}

/// What an agent said of a task until its end.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) output: String,
    pub(crate) steps: Vec<String>,
    pub(crate) percents: Vec<f64>,
    pub(crate) seqs: Vec<u64>,
}

impl Connection {
    pub(crate) async fn send(&mut self, message: CloudMessage) {
        let envelope = Envelope {
            id: RandomIds.message(),
            timestamp: SystemClock.now(),
            message,
        };
        let text = envelope.encode(Spelling::Canonical).unwrap();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn submit(&mut self, submit: &TaskSubmit) {
        self.send(CloudMessage::TaskSubmit(Box::new(submit.clone())))
            .await;
    }

    pub(crate) async fn cancel(&mut self, task: TaskId) {
        let cancel = TaskCancel {
            task_id: task,
            reason: "not needed".to_owned(),
        };
        self.send(CloudMessage::TaskCancel(cancel)).await;
    }

    /// The next message; results are confirmed as they come, unless that is off.
    pub(crate) async fn next(&mut self) -> Envelope<AgentMessage> {
        match self.early.pop_front() {
            Some(envelope) => envelope,
            None => self.read().await.expect("another message"),
        }
    }

    /// Waits until the agent has closed the connection.
    pub(crate) async fn closed(mut self) {
        while self.read().await.is_some() {}
    }

    async fn read(&mut self) -> Option<Envelope<AgentMessage>> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("a message in time")?;
            let text = match message {
                Ok(Message::Text(text)) => text,
                Ok(_) => continue,
                Err(error) => panic!("the agent broke a limit or the connection: {error}"),
            };
            let (envelope, _) = decode::<AgentMessage>(&text).unwrap();
            if self.confirms && is_terminal(&envelope.message) {
                let message_id = envelope.id.clone();
                self.send(CloudMessage::MessageAck(MessageAck { message_id }))
                    .await;
            }
            return Some(envelope);
        }
    }

    /// The next message that `wanted` finds, keeping the others for later.
    pub(crate) async fn find<T>(&mut self, wanted: impl Fn(&AgentMessage) -> Option<T>) -> T {
        let mut passed = VecDeque::new();
        loop {
            let envelope = self.next().await;
            if let Some(found) = wanted(&envelope.message) {
                passed.extend(self.early.drain(..));
                self.early = passed;
                return found;
            }
            passed.push_back(envelope);
        }
    }

    /// Reads until a task's end, gathering what is said of it on the way.
    pub(crate) async fn story(&mut self, task: TaskId) -> (Story, Envelope<AgentMessage>) {
        let mut story = Story::default();
        loop {
            let envelope = self.next().await;
            match &envelope.message {
                AgentMessage::TaskStream(stream) if stream.task_id == task => {
                    story.output.push_str(&stream.delta);
                    story.seqs.extend(stream.seq);
                }
                AgentMessage::TaskProgress(progress) if progress.task_id == task => {
                    story
                        .steps
                        .extend(progress.steps.clone().unwrap_or_default());
                    story.percents.extend(progress.progress);
                }
                message if ends(message) == Some(task) => return (story, envelope),
                _ => {}
            }
        }
    }

    /// A task's end, keeping everything else for later.
    pub(crate) async fn end_of(&mut self, task: TaskId) -> AgentMessage {
        self.find(|message| (ends(message) == Some(task)).then(|| message.clone()))
            .await
    }

    /// Waits until a task's output so far contains `text`.
    pub(crate) async fn output_until(&mut self, task: TaskId, text: &str) {
        let mut output = String::new();
        while !output.contains(text) {
            if let AgentMessage::TaskStream(stream) = self.next().await.message
                && stream.task_id == task
            {
                output.push_str(&stream.delta);
            }
        }
    }
}

fn is_terminal(message: &AgentMessage) -> bool {
    ends(message).is_some()
}

/// The task that a message ends.
pub(crate) fn ends(message: &AgentMessage) -> Option<TaskId> {
    match message {
        AgentMessage::TaskComplete(complete) => Some(complete.task_id),
        AgentMessage::TaskError(failure) => Some(failure.task_id),
        AgentMessage::TaskCancelled(cancelled) => Some(cancelled.task_id),
        _ => None,
    }
}

/// A running agent.
pub(crate) struct Agent {
    stops: mpsc::Sender<StopReason>,
    handle: JoinHandle<Ending>,
    notices: Notices,
}

/// How a test's agent differs from the usual.
pub(crate) struct Options {
    pub(crate) key: &'static str,
    pub(crate) concurrency: u32,
    pub(crate) timings: Timings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key: KEY,
            concurrency: 2,
            timings: Timings {
                flush: Duration::from_millis(20),
                grace: Duration::from_millis(500),
                reconnect: Duration::from_millis(20),
                ..Timings::default()
            },
        }
    }
}

impl Agent {
    /// Starts an agent whose tasks run their prompt as a shell script, in `folder`.
    pub(crate) fn start(url: &str, folder: &Path, options: Options) -> Self {
        Self::with_command("sh", url, folder, options)
    }

    pub(crate) fn with_command(command: &str, url: &str, folder: &Path, options: Options) -> Self {
        let config = Config {
            url: url.parse().unwrap(),
            agent_id: "tester".parse().unwrap(),
            api_key: options.key.to_owned().into(),
            command: CommandLine::parse(command).unwrap(),
            workdirs: Workdirs::new(&[folder.to_owned()]).unwrap(),
            concurrency: options.concurrency,
            timings: options.timings,
        };
        let notices = Notices::default();
        let (stops, stopped) = mpsc::channel(4);
        let ui = notices.clone();
        let handle = tokio::task::spawn_local(agent::run(config, stopped, Box::new(ui)));
        Self {
            stops,
            handle,
            notices,
        }
    }

    pub(crate) async fn stop(&self) {
        self.stops
            .send(StopReason::Signal("SIGTERM"))
            .await
            .unwrap();
    }

    /// Waits for the agent's end.
    pub(crate) async fn ended(self) -> Ending {
        timeout(PATIENCE, self.handle)
            .await
            .expect("an end in time")
            .unwrap()
    }

    /// Waits for the agent's end; returns also what its person has seen.
    pub(crate) async fn notices_at_end(self) -> (Ending, Vec<Notice>) {
        let notices = self.notices.clone();
        let ending = self.ended().await;
        let seen = notices.0.lock().unwrap().clone();
        (ending, seen)
    }

    /// What its person has seen.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.notices.0.lock().unwrap().clone()
    }
}

#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Ui for Notices {
    fn tell(&mut self, notice: &Notice) {
        self.0.lock().unwrap().push(notice.clone());
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
