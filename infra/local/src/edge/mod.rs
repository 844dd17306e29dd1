//! The edge: the limits that API Gateway enforces and the emulator does not, and on demand the
//! failures of a network. It is one server on 127.0.0.1 in front of the emulator, which listens on
//! a Unix socket: agents, Slack's requests, the functions' calls to AWS and those of tools all pass
//! it.
//!
//! It refuses what a web page can send ([`local_slack::refuse_foreign_pages`]), and calls of AWS
//! without the stack's credentials ([`access`]).
//!
//! Always: 32 KB a frame and 128 KB a message (closed with 1009), 10 min idle and 2 h a connection
//! (closed with 1001), 128 KB for a post to a connection (413), and the throttles of the template's
//! routes (429).
//!
//! On demand, by an agent for its own connection, with the parameter `disturb` in its URL
//! ([`conditions`]): messages come out of order, twice, late or not at all, and the connection is
//! cut. On demand, by whoever holds the [`Edge`]: the functions' calls to AWS fail at random
//! ([`Edge::fail_aws_calls`]). The functions and the template know nothing of it.

mod access;
mod conditions;
mod connection;
mod delayed;
mod handshake;
mod relay;
#[cfg(test)]
mod tests;
mod throttle;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use local_slack::refuse_foreign_pages;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::access::Caller;
pub(crate) use self::conditions::ConnectionTimeLimits;
use self::handshake::{WebSocketProxy, is_websocket_upgrade};
pub(crate) use self::relay::{CallCounts, Emulator};
use self::relay::{Relay, denial_response};
pub(crate) use self::throttle::Throttles;

/// The time that requests in flight have to end once the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The running edge. Dropped without [`Edge::shutdown`], it is stopped, not waited for.
pub(crate) struct Edge {
    connections: Arc<WebSocketProxy>,
    relay: Arc<Relay>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Edge {
    /// Serves on a port of 127.0.0.1, where 0 is any free one. The emulator need not listen yet.
    pub(crate) async fn start(
        port: u16,
        emulator: Emulator,
        limits: ConnectionTimeLimits,
        throttles: Throttles,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| {
                format!("the edge cannot listen on 127.0.0.1:{port}; choose another port, or 0")
            })?;
        let address = listener.local_addr()?;
        let relay = Arc::new(Relay::new(emulator));
        let connections = Arc::new(WebSocketProxy::new(relay.clone(), limits));
        let router = Router::new()
            .fallback(handle)
            .layer(from_fn(refuse_foreign_pages))
            .with_state((connections.clone(), relay.clone(), Arc::new(throttles)));
        let stop = connections.stop.clone().cancelled_owned();
        let listener = listener.tap_io(|stream| {
            // Small messages are sent at once.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps small messages back");
            }
        });
        let serve = axum::serve(listener, router).with_graceful_shutdown(stop);
        let serving = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(code = "EDGE_SERVE", %error, "the edge stopped serving");
            }
        });
        Ok(Self {
            connections,
            relay,
            address,
            serving,
        })
    }

    /// Returns the port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the address that functions and tools call instead of AWS.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address of deployed APIs, as the template's parameter wants it.
    pub(crate) fn execute_api_address(&self) -> String {
        format!("{}/_aws/execute-api", self.address)
    }

    /// Has calls of functions to AWS fail at random from now on: one half before they take effect, the other
    /// half after it. The same seed lets the same ones of a sequence of calls fail.
    pub(crate) fn fail_aws_calls(&self, seed: u64, probability: f64) {
        self.relay.lock_call_faults().dice = Some((StdRng::seed_from_u64(seed), probability));
    }

    pub(crate) fn call_counts(&self) -> CallCounts {
        self.relay.lock_call_faults().counts
    }

    /// Stops taking requests, cuts the connections, lets requests in flight end.
    pub(crate) async fn shutdown(mut self) {
        self.connections.stop.cancel();
        self.connections.tasks.close();
        if timeout(SHUTDOWN_TIMEOUT, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
        self.connections.tasks.wait().await;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.connections.stop.cancel();
    }
}

type RouterState = (Arc<WebSocketProxy>, Arc<Relay>, Arc<Throttles>);

async fn handle(
    State((proxy, relay, throttles)): State<RouterState>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let admitted = relay.admit(&mut parts);
    let is_handshake = is_websocket_upgrade(&parts.headers);
    if admitted == Ok(Caller::Anyone) && !throttles.admits(&parts.method, &parts.uri, is_handshake)
    {
        let answer = (
            StatusCode::TOO_MANY_REQUESTS,
            [(CONTENT_TYPE, "application/json")],
            r#"{"message":"Too Many Requests"}"#,
        );
        return answer.into_response();
    }
    let request = Request::from_parts(parts, body);
    match admitted {
        Err(denial) => denial_response(denial, request.headers()),
        Ok(_) if is_handshake => proxy.open(request).await.into_response(),
        Ok(caller) => relay.handle(request, caller).await,
    }
}
