//! Binding, serving, and stopping.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::config::Config;
use super::state::Slack;
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
        let slack = Arc::new(Slack::new(config, address).map_err(StartError::Client)?);
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
