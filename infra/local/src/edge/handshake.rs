//! Opening a connection: the agent's handshake is answered as the emulator answers ours.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use bematic_protocol::messages::limits::{MAX_FRAME_BYTES, MAX_MESSAGE_BYTES};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

use super::conditions::{ConnectionTimeLimits, NetworkConditions};
use super::connection::carry_both_ways;
use super::relay::Relay;

/// The query parameter that is the edge's own.
const CONDITIONS_QUERY_PARAMETER: &str = "disturb";
/// How long the cloud may take: API Gateway waits 29 s for an integration.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(29);
/// Bytes that are read at once.
const READ_BUFFER_BYTES: usize = 32 * 1024;
/// Headers that apply to one hop only.
const HOP_BY_HOP_HEADERS: [HeaderName; 5] =
    [HOST, CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING];

/// Answers that there is no connection, and why.
fn refusal_response(status: StatusCode, why: impl fmt::Display) -> Response {
    (status, format!("{why}\n")).into_response()
}

/// Returns the cloud's refusal as API Gateway would have made it, as far as that is known. A `$connect`
/// that fails is 502 there; the emulator says 403, which is an authorizer's refusal, but without a body.
fn translate_refusal(answer: HttpResponse<Option<Vec<u8>>>) -> Response {
    let (parts, body) = answer.into_parts();
    let empty = parts.headers.get(CONTENT_LENGTH) == Some(&HeaderValue::from_static("0"));
    if parts.status == StatusCode::FORBIDDEN && empty {
        return refusal_response(StatusCode::BAD_GATEWAY, "$connect failed");
    }
    let kind = parts.headers.get(CONTENT_TYPE).cloned();
    let kind = kind.map(|kind| [(CONTENT_TYPE, kind)]);
    (parts.status, kind, Body::from(body.unwrap_or_default())).into_response()
}

/// Returns API Gateway's answer to a handshake that the authorizer refuses: the emulator's, which
/// has ids, with another status and text.
fn unauthorized_response(answer: &HttpResponse<Option<Vec<u8>>>) -> Response {
    let body = answer.body().as_deref().unwrap_or_default();
    let mut body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    body.insert("message".to_owned(), "Unauthorized".into());
    (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).map(HeaderValue::as_bytes);
    upgrade.is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"))
}

/// Carries the connections of agents to the emulator.
pub(super) struct WebSocketProxy {
    relay: Arc<Relay>,
    limits: ConnectionTimeLimits,
    pub(super) tasks: TaskTracker,
    /// Cancelled when the edge ends.
    pub(super) stop: CancellationToken,
    /// Connections so far, by agent and seed.
    counts: Mutex<HashMap<(Vec<u8>, u64), u64>>,
}

impl WebSocketProxy {
    pub(super) fn new(relay: Arc<Relay>, limits: ConnectionTimeLimits) -> Self {
        Self {
            relay,
            limits,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            counts: Mutex::default(),
        }
    }

    /// Answers an agent's handshake, and carries its connection from then on. The error is a refusal.
    pub(super) async fn open(self: Arc<Self>, mut request: Request) -> Result<Response, Response> {
        let bad_request = |why| refusal_response(StatusCode::BAD_REQUEST, why);
        let query = request.uri().query().unwrap_or_default();
        let (conditions, query) =
            split_conditions_from_query(query, self.limits).map_err(bad_request)?;
        join_connection_headers(request.headers_mut());
        let accepted = create_response_with_body(&request, Body::empty).map_err(|error| {
            bad_request(anyhow!(
                "this is no WebSocket handshake of version 13: {error}"
            ))
        })?;
        let cloud = self
            .connect(request.uri().path(), &query, request.headers())
            .await?;
        let agent_id = request.headers().get("x-agent-id");
        let agent_id = agent_id.map_or(&[][..], HeaderValue::as_bytes);
        let ordinal = self.next_ordinal(agent_id, conditions.seed);
        let upgrade = hyper::upgrade::on(&mut request);
        let tasks = self.tasks.clone();
        tasks.spawn(async move {
            // Without it, the agent has gone away in the meantime.
            if let Ok(upgraded) = upgrade.await {
                let limits = WebSocketConfig::default()
                    .read_buffer_size(READ_BUFFER_BYTES)
                    .max_frame_size(Some(MAX_FRAME_BYTES))
                    .max_message_size(Some(MAX_MESSAGE_BYTES));
                let (agent, limits) = (TokioIo::new(upgraded), Some(limits));
                let agent = WebSocketStream::from_raw_socket(agent, Role::Server, limits).await;
                carry_both_ways(agent, cloud, conditions, ordinal, &self.stop).await;
            }
        });
        Ok(accepted)
    }

    /// Opens the connection to the emulator. The error is a refusal, as API Gateway would have made
    /// it: an authorizer's error is 401 for the text `Unauthorized`, and 500 for any other; the
    /// emulator says 500 for all.
    async fn connect(
        &self,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<WebSocketStream<UnixStream>, Response> {
        let opening = async {
            match shake_hands(&self.relay.emulator.socket, path, query, headers).await {
                Ok(socket) => Ok(socket),
                Err(Error::Http(answer)) => {
                    let failed = answer.status() == StatusCode::INTERNAL_SERVER_ERROR;
                    let refused = failed && self.relay.authorizer_refuses(headers).await;
                    Err(if refused {
                        unauthorized_response(&answer)
                    } else {
                        translate_refusal(*answer)
                    })
                }
                Err(error) => Err(refusal_response(
                    StatusCode::BAD_GATEWAY,
                    format!("the emulator cannot be reached: {error}"),
                )),
            }
        };
        match timeout(HANDSHAKE_TIMEOUT, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(refusal_response(
                StatusCode::GATEWAY_TIMEOUT,
                format!(
                    "the cloud did not answer within {} s",
                    HANDSHAKE_TIMEOUT.as_secs()
                ),
            )),
        }
    }

    /// Counts a connection, and returns how many of the agent asked for the same seed before.
    fn next_ordinal(&self, agent_id: &[u8], seed: u64) -> u64 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((agent_id.to_owned(), seed)).or_default();
        *count += 1;
        *count - 1
    }
}

/// Makes one line of several `Connection` headers, of which the check reads only the first.
fn join_connection_headers(headers: &mut HeaderMap) {
    let all = headers.get_all(CONNECTION).iter();
    let all: Vec<_> = all.map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(CONNECTION, joined);
    }
}

/// Splits a query into our own parameter and the rest.
fn split_conditions_from_query(
    query: &str,
    limits: ConnectionTimeLimits,
) -> anyhow::Result<(NetworkConditions, String)> {
    let is_own = |pair: &&str| pair.split('=').next() == Some(CONDITIONS_QUERY_PARAMETER);
    let (own, others): (Vec<_>, Vec<_>) = query.split('&').partition(is_own);
    let own = own.join("&");
    let (_, value) = form_urlencoded::parse(own.as_bytes())
        .next()
        .unwrap_or_default();
    Ok((NetworkConditions::parse(&value, limits)?, others.join("&")))
}

/// Makes the handshake with the emulator that the agent wants to make.
async fn shake_hands(
    socket: &Path,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<WebSocketStream<UnixStream>, Error> {
    // The emulator shows its functions this address as its own.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or("localhost");
    let mut request = format!("ws://{host}{path}?{query}").into_client_request()?;
    // The headers of the handshake itself are the edge's own.
    for (name, value) in headers {
        if !HOP_BY_HOP_HEADERS.contains(name) && !name.as_str().starts_with("sec-websocket-") {
            request.headers_mut().append(name.clone(), value.clone());
        }
    }
    let stream = UnixStream::connect(socket).await?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_parameter_is_taken_from_the_query() {
        let limits = ConnectionTimeLimits::default();
        let text = "a=1&disturb=seed%3A7,drop:1&b=%26";
        let (conditions, query) = split_conditions_from_query(text, limits).unwrap();
        assert_eq!(
            conditions,
            NetworkConditions::parse("seed:7,drop:1", limits).unwrap()
        );
        assert_eq!(query, "a=1&b=%26");
        assert_eq!(
            split_conditions_from_query("", limits).unwrap(),
            (NetworkConditions::default(), String::new())
        );
        assert!(split_conditions_from_query("disturb=often", limits).is_err());
    }

    #[test]
    fn a_failing_connect_is_told_from_an_authorizers_no() {
        let answer = |status: u16, length: &str| {
            let answer = HttpResponse::builder().status(status);
            let answer = answer.header(CONTENT_LENGTH, length).body(None);
            translate_refusal(answer.unwrap()).status().as_u16()
        };
        assert_eq!(answer(403, "0"), 502);
        assert_eq!(answer(403, "40"), 403);
        assert_eq!(answer(500, "40"), 500);
    }
}
