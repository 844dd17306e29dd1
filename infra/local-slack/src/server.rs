//! The server: its routes, start and stop.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, Response};
use axum::middleware::from_fn;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::config::Config;
use crate::state::Slack;
use crate::web_page::refuse_foreign_pages;
use crate::{api, control, page, respond};

/// The size of a request, in bytes; far more than Slack would accept.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How long requests in flight may take when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("the local Slack cannot listen on 127.0.0.1:{port}; choose another port, or 0")]
pub struct StartError {
    port: u16,
    source: std::io::Error,
}

/// A running local Slack. Dropping it stops it without waiting; [`Server::shutdown`] waits.
#[derive(Debug)]
pub struct Server {
    slack: Arc<Slack>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Binds the port on 127.0.0.1, and serves.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let port = config.port;
        let failed = |source| StartError { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let slack = Slack::with_origin(format!("http://{address}"), config);
        let stop = slack.stop.clone().cancelled_owned();
        let routes = router(&slack).layer(from_fn(refuse_foreign_pages));
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stop);
        let serving = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(code = "SLACK_SERVE", %error, "the local Slack stopped serving");
            }
        });
        Ok(Self { slack, serving })
    }

    /// Returns the page's address, without a trailing slash.
    pub fn page_url(&self) -> String {
        self.slack.origin.clone()
    }

    /// Returns the Web API's address, to which a slash and the method's name are appended.
    pub fn api_url(&self) -> String {
        format!("{}/api", self.slack.origin)
    }

    /// Returns the server's state.
    pub fn state(&self) -> &Arc<Slack> {
        &self.slack
    }

    /// Stops accepting requests, waits for those in flight, and drops pending retries of events.
    pub async fn shutdown(mut self) {
        self.slack.stop.cancel();
        self.slack.tasks.close();
        let served = tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut self.serving).await;
        if served.is_err() {
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

/// Answers a request to a local Slack in process, without a socket.
pub async fn handle(
    slack: &Arc<Slack>,
    request: Request<Vec<u8>>,
) -> Result<Response<Vec<u8>>, axum::Error> {
    let Ok(response) = router(slack).oneshot(request.map(Body::from)).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await?;
    Ok(Response::from_parts(parts, body.into()))
}

/// Returns the routes of a local Slack: the Web API below `/api`, `/responses`, the page, and
/// `/control`.
pub fn router(slack: &Arc<Slack>) -> Router {
    Router::new()
        .merge(page::routes())
        .merge(control::routes())
        .route(
            "/api/{method}",
            post(api::handle_call).get(api::handle_call),
        )
        .route("/responses/{id}", post(respond::handle_response_url))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(slack.clone())
}
