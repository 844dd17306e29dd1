//! The server: it listens, serves and stops.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::disturbance::Limits;
use super::handshake;
use super::relay::{CallCounts, Relay};
use super::shared::Shared;

/// The time that requests in flight have to end once the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// The running edge. Dropped without [`Edge::shutdown`], it is stopped, not waited for.
pub struct Edge {
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Edge {
    /// Listens on a port of 127.0.0.1, where 0 is any free one, and serves. The emulator need not listen
    /// yet.
    pub async fn start(port: u16, emulator: SocketAddr, limits: Limits) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| {
            format!("the edge cannot listen on 127.0.0.1:{port}; choose another port, or 0")
        })?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            emulator,
            limits,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            relay: Relay::new(emulator),
            connections: Mutex::default(),
        });
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

    /// Returns the address that functions call instead of AWS.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address of deployed APIs, as the template's parameter wants it.
    pub fn execute_api(&self) -> String {
        format!("{}/_aws/execute-api", self.address)
    }

    /// Has calls of functions to AWS fail at random from now on, with a probability from 0 to 1: one
    /// half before they take effect, the other half after it. The same seed lets the same ones of a
    /// sequence of calls fail.
    pub fn disturb_calls(&self, seed: u64, probability: f64) {
        self.shared.relay.calls().dice = Some((StdRng::seed_from_u64(seed), probability));
    }

    /// Has no call fail from now on.
    pub fn calm(&self) {
        self.shared.relay.calls().dice = None;
    }

    /// Returns the numbers of the functions' calls so far.
    pub fn call_counts(&self) -> CallCounts {
        self.shared.relay.calls().counts
    }

    /// Stops taking requests, cuts the connections, lets requests in flight end.
    pub async fn shutdown(mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if timeout(GRACE, &mut self.serving).await.is_err() {
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

/// Has small messages sent at once.
fn at_once(stream: &mut TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps small messages back");
    }
}

async fn handle(State(edge): State<Arc<Shared>>, request: Request) -> Response {
    if handshake::is_asked_for(request.headers()) {
        handshake::open(edge, request).await.into_response()
    } else {
        edge.relay.handle(request).await
    }
}
