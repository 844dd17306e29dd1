//! The bench's agent: it connects, and sends what the scenario asks for.

use anyhow::{Context, Result, bail};
use bematic_admin::IssuedKey;
use bematic_protocol::ids::{IdGenerator as _, RandomIds};
use bematic_protocol::time::{Clock as _, SystemClock};
use bematic_test_agent::{AgentMessage, CloudMessage, RunKey, TypeSpelling};

use crate::driver::FunctionInvoker as _;
use crate::events::Socket;
use crate::invocation::{InvocationKind, SpecialCase};
use crate::testbed::Testbed;

/// The case of a connection that authenticates in band.
pub(crate) const IN_BAND_CASE: SpecialCase = Some("without a key");
const AUTHORIZER_CASE: SpecialCase = Some("authorizer");
const AUTHORIZER_IN_BAND_CASE: SpecialCase = Some("authorizer, without a key");
/// The case of a report of a task of which a refresh is enqueued already.
pub(crate) const REFRESH_ENQUEUED_CASE: SpecialCase = Some("refresh under way");

/// An agent with the channel that is bound to it, and its connection.
pub(crate) struct Agent<'a> {
    pub(crate) testbed: &'a Testbed,
    pub(crate) created: IssuedKey,
    pub(crate) channel: String,
    pub(crate) socket: Option<Socket>,
}

impl Agent<'_> {
    pub(crate) fn id(&self) -> &str {
        self.created.agent_id.as_str()
    }

    /// Connects with the key in the header of the handshake.
    pub(crate) async fn connect(&mut self) -> Result<()> {
        self.open(true, [AUTHORIZER_CASE, None]).await
    }

    /// Connects without the key, and sends it in the first message.
    pub(crate) async fn connect_in_band(&mut self) -> Result<()> {
        self.open(false, [AUTHORIZER_IN_BAND_CASE, IN_BAND_CASE])
            .await?;
        let request = AgentMessage::auth_request(self.id(), &self.created.api_key);
        self.send(request, None).await
    }

    async fn open(&mut self, by_header: bool, cases: [SpecialCase; 2]) -> Result<()> {
        let connection = format!("{}=", RandomIds.message());
        let kinds = cases.map(|case| InvocationKind::new("$connect", case));
        let key = by_header.then_some((self.id(), self.created.api_key.as_str()));
        self.socket = Some(self.testbed.connect(&connection, key, kinds).await?);
        Ok(())
    }

    fn socket(&self) -> Result<&Socket> {
        self.socket.as_ref().context("the agent is not connected")
    }

    pub(crate) async fn disconnect(&self) -> Result<()> {
        let socket = self.socket()?;
        let by_header = socket.authorizer["agentId"].is_string();
        let kind = InvocationKind::new("$disconnect", if by_header { None } else { IN_BAND_CASE });
        self.testbed.disconnect(socket, kind).await
    }

    /// Sends a report of a running task, accounted to whether a refresh is enqueued already.
    pub(crate) async fn send_report(&self, run: RunKey, report: AgentMessage) -> Result<()> {
        let enqueued = self.testbed.has_waiting_refresh(&run.task_id.to_string());
        let case = if enqueued {
            REFRESH_ENQUEUED_CASE
        } else {
            None
        };
        self.send(report, case).await
    }

    /// Sends a message. It is an error if it is refused.
    pub(crate) async fn send(&self, message: AgentMessage, case: SpecialCase) -> Result<()> {
        let kind = InvocationKind::new(&message.kind, case);
        let message = message.in_envelope(RandomIds.message().as_str(), SystemClock.now());
        let text = message.text(TypeSpelling::Canonical);
        let answer = self
            .testbed
            .send_client_message(self.socket()?, &text, kind)
            .await?;
        let posted = self.take_posted_messages()?;
        let error = posted.iter().find(|it| it.kind == "SYSTEM_ERROR");
        if answer["statusCode"] != 200 || error.is_some() {
            bail!("{} was refused: {answer} {error:?}", message.message.kind);
        }
        Ok(())
    }

    /// The run of the TASK_SUBMIT among what was posted to the connection since posts were taken
    /// last.
    pub(crate) fn take_offered_run(&self) -> Result<RunKey> {
        let posted = self.take_posted_messages()?;
        let offer = posted.iter().find_map(CloudMessage::offer);
        let run = offer.map(|it| it.run_key());
        run.with_context(|| format!("no task was sent, but {posted:?}"))
    }

    /// Takes what was posted to the connection since posts were taken last.
    fn take_posted_messages(&self) -> Result<Vec<CloudMessage>> {
        let socket = self.socket()?;
        let posts = self.testbed.cloud.aws.connections().take_posts();
        let own = posts.iter().filter(|(to, _)| *to == socket.connection);
        let messages = own.map(|(_, body)| serde_json::from_slice(body));
        Ok(messages.collect::<Result<_, _>>()?)
    }
}
