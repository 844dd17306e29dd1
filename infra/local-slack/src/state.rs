//! The state of a local Slack, with the functions that tests call.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Channel, Config, User};
use crate::error::Refusal;
use crate::faults::{Fault, Faults, RateLimits};
use crate::message::{Author, Content, Message};
use crate::ts::Ts;
use crate::workspace::Workspace;

/// A local Slack: its workspace and its faults. [`router`](crate::router) serves it.
#[derive(Debug)]
pub struct Slack {
    pub(crate) config: Arc<Config>,
    /// The address of the page and of `response_url`s, without a trailing slash.
    pub(crate) origin: String,
    /// The client that calls the webhook, created with the first request.
    pub(crate) http: LazyLock<reqwest::Result<reqwest::Client>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    workspace: Mutex<Workspace>,
    faults: Mutex<Faults>,
}

impl Slack {
    /// Creates a local Slack without a socket.
    pub fn new(config: Config) -> Arc<Self> {
        Self::with_origin("http://local-slack.invalid".to_owned(), config)
    }

    /// Creates a local Slack whose address is `origin`.
    pub(crate) fn with_origin(origin: String, config: Config) -> Arc<Self> {
        let config = Arc::new(config);
        Arc::new(Self {
            origin,
            http: LazyLock::new(|| reqwest::Client::builder().no_proxy().build()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            workspace: Mutex::new(Workspace::new(config.clone())),
            faults: Mutex::default(),
            config,
        })
    }

    /// Returns all messages of a channel, replies too, oldest first.
    pub fn messages(&self, channel: &str) -> Vec<Message> {
        self.workspace().messages(channel, false).cloned().collect()
    }

    /// Returns one message of a channel.
    pub fn message(&self, channel: &str, ts: Ts) -> Option<Message> {
        self.workspace()
            .find_non_ephemeral_message(channel, ts)
            .ok()
            .cloned()
    }

    /// Returns the newest ephemeral messages of a channel, for any user, oldest first.
    pub fn ephemeral_messages(&self, channel: &str) -> Vec<Message> {
        self.workspace().messages(channel, true).cloned().collect()
    }

    /// Posts a message as the person `user`, and sends no event to the app.
    pub fn post_without_event(
        &self,
        user: &str,
        channel: &str,
        thread: Option<Ts>,
        text: &str,
    ) -> Result<Ts, Refusal> {
        let (author, content) = (Author::User(user.to_owned()), Content::plain(text));
        Ok(self.workspace().post(channel, thread, author, content)?)
    }

    /// Deletes a message, as a person may.
    pub fn delete(&self, channel: &str, ts: Ts) {
        self.workspace().remove(channel, ts);
    }

    /// Adds a channel; one with the same id is replaced.
    pub fn add_channel(&self, channel: Channel) {
        let workspace = &mut *self.workspace();
        workspace.channels.retain(|other| other.id != channel.id);
        workspace.channels.push(channel);
        workspace.publish(|| json!({ "type": "workspace", "channels": workspace.channels }));
    }

    /// Adds a person; one with the same id is replaced, as to make a guest of a member.
    pub fn add_user(&self, user: User) {
        let workspace = &mut *self.workspace();
        workspace.users.retain(|other| other.id != user.id);
        workspace.users.push(user);
        workspace.publish(|| json!({ "type": "workspace", "users": workspace.users }));
    }

    /// Adds a fault for the next calls of a method.
    pub fn add_fault(&self, fault: Fault) {
        self.faults().add(fault);
    }

    pub(crate) fn set_rate_limits(&self, wanted: RateLimits) {
        self.faults().set_rate_limits(wanted);
    }

    /// Sets the address of the webhook, to which `/slack/commands`, `/slack/events` and
    /// `/slack/interactions` are appended.
    pub fn set_webhook(&self, base: &str) {
        self.workspace().webhook = Some(base.trim_end_matches('/').to_owned());
    }

    pub(crate) fn workspace(&self) -> MutexGuard<'_, Workspace> {
        lock(&self.workspace)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// Returns the address for responses to an interaction.
    pub(crate) fn response_url(&self, interaction_id: &str) -> String {
        format!("{}/responses/{interaction_id}", self.origin)
    }
}

/// Locks a mutex, also if a holder of the lock panicked: no change of state can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
