//! Binding, serving, and stopping.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::faults::Faults;
use super::workspace::Workspace;
use super::{api, control, limits, page, respond};

/// How long requests in flight may take to end once the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, most likely.
    #[error("the local Slack cannot listen on 127.0.0.1:{port}; choose another port, or 0")]
    Bind {
        /// The port asked for.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// The HTTP client that calls the webhook could not be built.
    #[error("the local Slack cannot build its HTTP client")]
    Client(#[source] reqwest::Error),
}

/// What every request is handled with.
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
    fn new(config: Config, address: SocketAddr) -> Result<Self, StartError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(StartError::Client)?;
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

/// A running local Slack. Dropped without [`Server::shutdown`], it is stopped, not waited for.
pub struct Server {
    slack: Arc<Slack>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Binds 127.0.0.1 and serves.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let port = config.port;
        let bind = |source| StartError::Bind { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let slack = Arc::new(Slack::new(config, address)?);
        let stop = slack.stop.clone().cancelled_owned();
        let serve = axum::serve(listener, router(slack.clone())).with_graceful_shutdown(stop);
        let serving = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(code = "SLACK_SERVE", %error, "the local Slack stopped serving");
            }
        });
        Ok(Self { slack, serving })
    }

    /// The page to look at, without a trailing slash.
    pub fn page_url(&self) -> String {
        self.slack.origin.clone()
    }

    /// The Web API; method names are appended after a slash.
    pub fn api_url(&self) -> String {
        format!("{}/api", self.slack.origin)
    }

    /// The base to which `/slack/commands`, `/slack/events` and `/slack/interactions` are appended.
    pub fn set_webhook(&self, base: &str) {
        self.slack.set_webhook(base);
    }

    /// Stops taking requests, lets those in flight end, drops pending event retries.
    pub async fn shutdown(mut self) {
        self.slack.stop.cancel();
        self.slack.tasks.close();
        if tokio::time::timeout(DRAIN, &mut self.serving)
            .await
            .is_err()
        {
            self.serving.abort();
        }
        self.slack.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.slack.stop.cancel();
    }
}

fn router(slack: Arc<Slack>) -> Router {
    Router::new()
        .merge(page::routes())
        .merge(control::routes())
        .merge(api::routes())
        .merge(respond::routes())
        .layer(axum::middleware::from_fn(page::only_loopback))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES))
        .with_state(slack)
}
