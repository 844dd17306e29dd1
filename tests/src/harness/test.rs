//! A test's own agent, channel and project.

use std::env;
use std::path::PathBuf;

use bematic::agent::Route;
use bematic_admin::{Admin, Deployment, NewProject, STACK_FILE_VARIABLE, send_signed};
use bematic_local::stack::StackFile;
use bematic_protocol::ids::{IdGenerator as _, RandomIds};
use reqwest::Method;
use tokio_tungstenite::tungstenite::http::Request;

use super::trace::{Trace, connection};
use super::{Channel, HandshakeHeaders, TestAgent, TypeSpelling, Webhook, eventually};

/// The file of the stack under test.
pub(crate) fn stack_file() -> PathBuf {
    let file = env::var_os(STACK_FILE_VARIABLE).unwrap_or_else(|| {
        panic!(
            "{STACK_FILE_VARIABLE} does not name a stack.json: run `cargo xtask test`, or start a stack \
             with `cargo xtask up --no-agent --for-tests` and set it to target/local/stack.json"
        )
    });
    file.into()
}

/// The stack under test.
pub(crate) fn stack() -> StackFile {
    StackFile::read(&stack_file()).expect("a running stack")
}

/// What a test works with. Dropped in a panic, it prints what the functions said about it.
pub(crate) struct Test {
    pub(crate) stack: StackFile,
    pub(crate) agent_id: String,
    pub(crate) api_key: String,
    /// The channel whose project runs on the agent.
    pub(crate) channel: Channel,
    /// The project's folder.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) webhook: Webhook,
    pub(super) trace: Trace,
    pub(super) admin: Admin,
}

impl Test {
    /// Makes an agent, a channel and a project, all called after `name`.
    pub(crate) async fn new(name: &str) -> Self {
        Box::pin(Self::make(name, None)).await
    }

    /// The same; the agent may be silent about the project's tasks for `secs` seconds.
    pub(crate) async fn with_lease(name: &str, secs: u64) -> Self {
        Box::pin(Self::make(name, Some(secs))).await
    }

    async fn make(name: &str, lease_secs: Option<u64>) -> Self {
        let stack = stack();
        let trace = Trace::new(&stack);
        let admin = Admin::new(Deployment::local(stack.aws.clone()).await);
        let channel = Channel::create(&stack, &trace, name).await;
        let agent_id = format!("{name}-{}", unique());
        trace.add(&agent_id);
        let folder = tempfile::tempdir().expect("a folder");
        let made = admin
            .create_agent(agent_id.parse().expect("an agent id"), false)
            .await;
        let test = Self {
            webhook: Webhook::new(&stack, &channel),
            api_key: made.expect("a new agent").api_key,
            agent_id,
            channel,
            folder,
            trace,
            admin,
            stack,
        };
        let route = test.agent_id.parse().expect("an agent id");
        test.put_project(&test.channel, route, lease_secs, false)
            .await;
        test
    }

    pub(super) async fn put_project(
        &self,
        channel: &Channel,
        route: Route,
        lease_secs: Option<u64>,
        replace: bool,
    ) {
        let wanted = NewProject {
            channel_id: channel.id.parse().expect("a channel id"),
            name: "website".to_owned(),
            route,
            local_path: self.folder.path().display().to_string(),
            model: "opus".to_owned(),
            max_budget: 2.5,
            bot_name: "Bematic".to_owned(),
            system_prompt: "Be brief.".to_owned(),
            allowed_tools: vec!["read".to_owned(), "edit".to_owned()],
            lease_secs,
            external_users: false,
        };
        self.admin
            .create_project(wanted, replace)
            .await
            .expect("a new project");
    }

    /// Another channel, which has no project.
    pub(crate) async fn channel_without_project(&self) -> Channel {
        Channel::create(&self.stack, &self.trace, "no-project").await
    }

    /// The headers of this test's agent.
    pub(crate) fn handshake(&self) -> HandshakeHeaders {
        HandshakeHeaders::with_key(&self.agent_id, &self.api_key)
    }

    /// The test's agent, authenticated at the handshake and ready for work.
    pub(crate) async fn connect(&self) -> TestAgent {
        self.connect_as(TypeSpelling::Canonical, 5).await
    }

    /// The test's agent with its own spelling and capacity.
    pub(crate) async fn connect_as(&self, spelling: TypeSpelling, capacity: usize) -> TestAgent {
        let mut agent = self.handshaken(spelling).await;
        agent.send_status(&self.agent_id, capacity, &[]).await;
        agent
    }

    /// The test's agent, which has said no more than that it is there.
    pub(crate) async fn connect_without_status(&self) -> TestAgent {
        let mut agent = self.handshaken(TypeSpelling::Canonical).await;
        agent.ping_and_expect_pong().await;
        agent
    }

    /// The test's agent, back again with the tasks that it still has.
    pub(crate) async fn reconnect(&self, tasks: &[&str]) -> TestAgent {
        let mut agent = self.handshaken(TypeSpelling::Canonical).await;
        agent.send_status(&self.agent_id, 5, tasks).await;
        agent
    }

    async fn handshaken(&self, spelling: TypeSpelling) -> TestAgent {
        let connected =
            TestAgent::connect(&self.stack.websocket_url, &self.handshake(), spelling).await;
        connected.expect("the handshake is accepted")
    }

    /// An address of the stack's at which connections are disturbed, as the local stack's edge
    /// understands it.
    pub(crate) fn disturbed(&self, disturbance: &str) -> String {
        format!("{}?disturb={disturbance}", self.stack.websocket_url)
    }

    /// The test's agent over a disturbed connection, authenticated at the handshake.
    pub(crate) async fn connect_disturbed(&self, disturbance: &str) -> TestAgent {
        let (url, handshake) = (self.disturbed(disturbance), self.handshake());
        let connected = TestAgent::connect(&url, &handshake, TypeSpelling::Canonical).await;
        connected.expect("the handshake is accepted")
    }

    /// Returns once the agent is not connected any more.
    pub(crate) async fn offline(&self) {
        eventually("the agent is offline", async || {
            if self.is_online().await {
                Err("it is online".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    }

    /// Whether the agent is connected, as its owner's list says. (The operator's ends at Slack's
    /// limit, with the agents of all other tests in it.)
    pub(crate) async fn is_online(&self) -> bool {
        let agents = self.admin.list_agents().await.expect("the list of agents");
        let own = agents
            .iter()
            .find(|agent| agent.id.as_str() == self.agent_id);
        own.expect("the test's agent").connection.is_some()
    }

    /// The log lines of one function about `text`.
    pub(crate) async fn lines(&self, function: &str, text: &str) -> Vec<String> {
        self.trace.lines(function, text).await
    }

    /// Calls an AWS service of the stack with the stack's credentials.
    pub(crate) async fn call_aws(
        &self,
        service: &str,
        method: Method,
        path: &str,
        body: String,
    ) -> reqwest::Response {
        let config = self.stack.aws.sdk_config().await;
        let url = format!("{}{path}", self.stack.aws.aws_endpoint);
        let request = Request::builder().method(method).uri(url);
        let request = request
            .header("content-type", "application/json")
            .body(body);
        let answer = send_signed(&config, service, request.expect("a request")).await;
        answer.expect("an answer")
    }

    /// The ids of the connections that the agent made at the handshake, oldest first.
    pub(crate) async fn connections(&self, count: usize) -> Vec<String> {
        eventually("a log line for each connection", async || {
            let lines = self.lines("ws-connect", &self.agent_id).await;
            let ids: Vec<_> = lines.iter().filter_map(|line| connection(line)).collect();
            if ids.len() >= count {
                Ok(ids)
            } else {
                Err(lines.join("\n"))
            }
        })
        .await
    }
}

/// Twelve hex digits that nobody else has.
pub(crate) fn unique() -> String {
    let id = RandomIds.task().to_string();
    id[id.len() - 12..].to_owned()
}
