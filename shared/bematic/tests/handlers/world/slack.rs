//! The local Slack under the production client, in process.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;
use bematic::secret::CachedSecret;
use bematic_aws::slack::{SlackClient, Transport};
use bematic_protocol::time::Clock as _;
use fake_aws::FailurePoint;
use http::{Request, Response};
use local_slack::{Channel, Clock, Config, Fault, Message, User, handle};

use super::{CHANNEL, Calls, OPERATIONS, fixed::Fixed};

/// The bot token.
pub(super) const TOKEN: &str = "xoxb-secret";
/// The full members of the workspace.
const PEOPLE: [&str; 7] = ["U1", "U2", "U5", "U7", "U8", "U9", PERSON];
/// A person of the workspace.
const PERSON: &str = "U0ADA";

/// A local Slack with the project's channel and the operations channel. Its calls are counted among
/// the functions' calls, by the method's name, and can fail like them.
pub(crate) struct Slack {
    local: Arc<local_slack::Slack>,
    transport: Arc<Counted>,
    /// The client of the functions, which knows the bot token already.
    pub(crate) client: Arc<SlackClient>,
}

impl Slack {
    pub(super) fn new(calls: Arc<Calls>, time: Arc<Fixed>, token: Arc<CachedSecret>) -> Self {
        let mut config = Config::new("signing-secret", TOKEN);
        config.clock = Clock::new(move || time.now().as_millis() * 1000);
        config.channels = [CHANNEL, OPERATIONS].map(channel).into();
        config.users = PEOPLE.map(person).into();
        let slack = local_slack::Slack::new(config);
        let transport = Arc::new(Counted {
            slack: slack.clone(),
            calls,
        });
        let client = client(transport.clone(), token);
        Self {
            local: slack,
            transport,
            client,
        }
    }

    /// Returns a client of the same Slack with another bot token, which it has yet to read.
    pub(super) fn client_with_token(&self, token: Arc<CachedSecret>) -> Arc<SlackClient> {
        client(self.transport.clone(), token)
    }

    /// Adds a person, or changes what Slack says of one.
    pub(crate) fn set_person(&self, person: User) {
        self.local.add_user(person);
    }

    /// Returns the messages of the project's channel and then those of the operations channel, each
    /// oldest first.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let channels = [CHANNEL, OPERATIONS].into_iter();
        channels.flat_map(|it| self.local.messages(it)).collect()
    }

    /// Returns the messages of the operations channel, oldest first.
    pub(crate) fn operations(&self) -> Vec<Message> {
        self.local.messages(OPERATIONS)
    }

    /// Returns the messages of both channels, with their blocks, as one text.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.messages())
    }

    /// Adds a fault for the next call of its method.
    pub(crate) fn fail(&self, fault: Fault) {
        self.local.add_fault(fault);
    }

    /// Deletes the messages of the project's channel, as a person may.
    pub(crate) fn delete_all(&self) {
        for message in self.local.messages(CHANNEL) {
            self.local.delete(CHANNEL, message.ts);
        }
    }

    /// Posts a message in the project's channel as a person, and returns its timestamp.
    pub(crate) fn post_as_person(&self, text: &str) -> String {
        let posted = self.local.post_without_event(PERSON, CHANNEL, None, text);
        posted.unwrap().to_string()
    }
}

fn client(transport: Arc<Counted>, token: Arc<CachedSecret>) -> Arc<SlackClient> {
    let client = SlackClient::with_transport(transport, "http://slack.invalid/api", token);
    Arc::new(client.unwrap())
}

/// Returns a full member of the workspace.
pub(crate) fn person(id: &str) -> User {
    User {
        id: id.to_owned(),
        name: id.to_lowercase(),
        real_name: id.to_owned(),
        ..User::default()
    }
}

fn channel(id: &str) -> Channel {
    Channel {
        id: id.to_owned(),
        name: id.to_lowercase(),
        topic: String::new(),
        has_bot: true,
    }
}

/// The transport to the local Slack that counts every call, and fails the one that a test chose.
struct Counted {
    slack: Arc<local_slack::Slack>,
    calls: Arc<Calls>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

#[async_trait]
impl Transport for Counted {
    async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let method = request.uri().path().trim_start_matches("/api/");
        let failure = self.calls.note(method.to_owned());
        if failure == Some(FailurePoint::Before) {
            return Err("made to fail".into());
        }
        let answer = handle(&self.slack, request).await?;
        if failure == Some(FailurePoint::After) {
            return Err("made to fail".into());
        }
        Ok(answer)
    }
}
