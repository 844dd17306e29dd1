//! Binding, serving, and stopping.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::calls::CallCounts;
use super::disturb::Probability;
use super::handshake;
use super::limits::Limits;
use super::shared::Shared;
use super::tally::MessageCounts;

/// How long requests in flight may take to end once the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Where to listen, and in front of what.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The port; 0 is any free one.
    pub port: u16,
    /// The emulator, which need not listen yet.
    pub emulator: SocketAddr,
    /// How long a connection may live.
    pub limits: Limits,
}

/// The server could not start: the port is taken, most likely.
#[derive(Debug, thiserror::Error)]
#[error("the edge cannot listen on 127.0.0.1:{port}; choose another port, or 0")]
pub struct StartError {
    /// The port asked for.
    port: u16,
    /// What the system says.
    source: std::io::Error,
}

/// The running edge. Dropped without [`Edge::shutdown`], it is stopped, not waited for.
pub struct Edge {
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Edge {
    /// Binds 127.0.0.1 and serves.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let port = config.port;
        let failed = |source| StartError { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(config.emulator, config.limits));
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let stop = shared.stop.clone().cancelled_owned();
        let serve = axum::serve(listener.tap_io(at_once), router).with_graceful_shutdown(stop);
        let serving = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(code = "EDGE_SERVE", %error, "the edge stopped serving");
            }
        });
        Ok(Self {
            shared,
            address,
            serving,
        })
    }

    /// What functions call instead of AWS.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where deployed APIs are served, as the template's parameter wants it.
    pub fn execute_api(&self) -> String {
        format!("{}/_aws/execute-api", self.address)
    }

    /// From now on, calls of functions to AWS fail at random: one half before anything happened,
    /// the other after it. The same seed lets the same ones of a sequence of calls fail.
    pub fn disturb_calls(&self, seed: u64, failure: Probability) {
        self.shared.calls.disturb(seed, failure);
    }

    /// From now on, no call fails.
    pub fn calm(&self) {
        self.shared.calls.calm();
    }

    /// The calls of functions so far.
    pub fn call_counts(&self) -> CallCounts {
        self.shared.calls.counts()
    }

    /// The messages of agents so far, both ways.
    pub fn message_counts(&self) -> MessageCounts {
        self.shared.tally.counts()
    }

    /// Stops taking requests, cuts the connections, lets requests in flight end.
    pub async fn shutdown(mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(DRAIN, &mut self.serving)
            .await
            .is_err()
        {
            self.serving.abort();
        }
        self.shared.tasks.wait().await;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// Small messages are sent at once.
fn at_once(stream: &mut TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps small messages back");
    }
}

async fn handle(State(edge): State<Arc<Shared>>, request: Request) -> Response {
    if handshake::is_asked_for(request.headers()) {
        handshake::open(edge, request).await
    } else {
        edge.relay.handle(request, &edge.calls).await
    }
}
