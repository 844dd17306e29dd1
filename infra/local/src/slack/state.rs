//! What every request is handled with.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::faults::Faults;
use super::workspace::Workspace;

/// The local Slack.
pub(super) struct Slack {
    pub(super) config: Config,
    /// `http://127.0.0.1:{port}`
    pub(super) origin: String,
    pub(super) http: reqwest::Client,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    workspace: Mutex<Workspace>,
    faults: Mutex<Faults>,
    webhook: Mutex<Option<String>>,
}

/// The state as axum hands it out.
pub(super) type Shared = State<Arc<Slack>>;

impl Slack {
    pub(super) fn new(config: Config, address: SocketAddr) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self {
            origin: format!("http://{address}"),
            http,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            workspace: Mutex::new(Workspace::new(&config)),
            faults: Mutex::default(),
            webhook: Mutex::new(config.webhook.clone()),
            config,
        })
    }

    pub(super) fn workspace(&self) -> MutexGuard<'_, Workspace> {
        lock(&self.workspace)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn webhook(&self) -> Option<String> {
        lock(&self.webhook).clone()
    }

    pub(super) fn set_webhook(&self, base: &str) {
        *lock(&self.webhook) = Some(base.trim_end_matches('/').to_owned());
    }
}

/// A lock whose holder panicked is taken all the same: no state is left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
