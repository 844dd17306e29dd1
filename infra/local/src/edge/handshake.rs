//! Opening a connection: the agent's handshake is answered as the emulator answers ours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use bematic_protocol::messages::limits::{FRAME_BYTES, MESSAGE_BYTES};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::form_urlencoded;

use super::connection::Carrier;
use super::disturb::{BadDisturbance, Disturbance};
use super::shared::Shared;

/// The parameter that is meant for us.
const PARAMETER: &str = "disturb";
/// How long the cloud may take: API Gateway waits 29 s for an integration.
const HANDSHAKE: Duration = Duration::from_secs(29);
/// Bytes that are read at once.
const READ: usize = 32 * 1024;
/// Headers that speak of one hop only.
const OF_THE_HOP: [HeaderName; 5] = [HOST, CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING];

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Disturbance(#[from] BadDisturbance),
    #[error("this is no WebSocket handshake of version 13: {0} is missing or wrong")]
    Handshake(HeaderName),
    #[error("the cloud refused")]
    Cloud(Box<HttpResponse<Option<Vec<u8>>>>),
    #[error("the emulator cannot be reached: {0}")]
    Unreachable(#[source] Error),
    #[error("the cloud did not answer within {} s", HANDSHAKE.as_secs())]
    Late,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Cloud(answer) => return refused(*answer),
            Self::Disturbance(_) | Self::Handshake(_) => StatusCode::BAD_REQUEST,
            Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// The cloud's refusal, as API Gateway would have made it where that can be told. A `$connect`
/// that fails is 502 there; the emulator says 403, which is an authorizer's no, but without a body.
/// An authorizer's error is 401 for the text `Unauthorized` and 500 for any other; the emulator
/// says 500 for all, and nothing tells them apart.
fn refused(answer: HttpResponse<Option<Vec<u8>>>) -> Response {
    let (parts, body) = answer.into_parts();
    let empty = parts.headers.get(CONTENT_LENGTH) == Some(&HeaderValue::from_static("0"));
    if parts.status == StatusCode::FORBIDDEN && empty {
        return (StatusCode::BAD_GATEWAY, "$connect failed\n").into_response();
    }
    let mut refused = Response::new(Body::from(body.unwrap_or_default()));
    *refused.status_mut() = parts.status;
    if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
        refused.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    refused
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|to| to.to_str().ok());
    upgrade.is_some_and(|to| to.eq_ignore_ascii_case("websocket"))
}

/// Answers an agent's handshake, and carries its connection from then on.
pub(super) async fn open(edge: Arc<Shared>, request: Request) -> Response {
    match try_open(edge, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn try_open(edge: Arc<Shared>, mut request: Request) -> Result<Response, Refusal> {
    let (disturbance, query) = understand(request.uri().query().unwrap_or_default())?;
    let accept = accept_key(request.headers())?;
    let path = request.uri().path().to_owned();
    let cloud = connect(edge.emulator, &path, &query, request.headers()).await?;
    let agent_id = request.headers().get("x-agent-id");
    let ordinal = edge.ordinal(
        agent_id.map_or(&[], HeaderValue::as_bytes),
        disturbance.seed,
    );
    let upgrade = hyper::upgrade::on(&mut request);
    let tasks = edge.tasks.clone();
    tasks.spawn(async move {
        // Without it, the agent has gone away in the meantime.
        if let Ok(upgraded) = upgrade.await {
            let agent = TokioIo::new(upgraded);
            let config = Some(limited());
            let agent = WebSocketStream::from_raw_socket(agent, Role::Server, config).await;
            let carrier = Carrier {
                disturbance: &disturbance,
                ordinal,
                limits: disturbance.limits(edge.limits),
                tally: &edge.tally,
                stop: &edge.stop,
            };
            carrier.carry(agent, cloud).await;
        }
    });
    Ok(switching(accept))
}

/// Our own parameter, and the query without it.
fn understand(query: &str) -> Result<(Disturbance, String), BadDisturbance> {
    let (own, others): (Vec<_>, Vec<_>) = query.split('&').partition(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name == PARAMETER
    });
    let own = own.join("&");
    let value = form_urlencoded::parse(own.as_bytes()).next();
    let disturbance = value.map_or(Ok(Disturbance::default()), |(_, value)| value.parse())?;
    Ok((disturbance, others.join("&")))
}

fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&HeaderValue::from_static("13")) {
        return Err(Refusal::Handshake(SEC_WEBSOCKET_VERSION));
    }
    let bad = || Refusal::Handshake(SEC_WEBSOCKET_KEY);
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(bad)?;
    let accept = derive_accept_key(key.as_bytes());
    HeaderValue::try_from(accept).map_err(|_| bad())
}

/// What API Gateway lets an agent send.
fn limited() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .max_frame_size(Some(FRAME_BYTES))
        .max_message_size(Some(MESSAGE_BYTES))
}

async fn connect(
    emulator: SocketAddr,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<WebSocketStream<TcpStream>, Refusal> {
    let opening = async {
        let mut request = format!("ws://{emulator}{path}?{query}").into_client_request()?;
        pass_on(headers, request.headers_mut());
        let stream = TcpStream::connect(emulator).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(READ);
        client_async_with_config(request, stream, Some(config)).await
    };
    match timeout(HANDSHAKE, opening).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(answer))) => Err(Refusal::Cloud(answer)),
        Ok(Err(error)) => Err(Refusal::Unreachable(error)),
        Err(_) => Err(Refusal::Late),
    }
}

/// The agent's headers, but for those of the handshake itself, which is ours.
fn pass_on(from: &HeaderMap, to: &mut HeaderMap) {
    let of_the_agent = |name: &HeaderName| {
        !OF_THE_HOP.contains(name) && !name.as_str().starts_with("sec-websocket-")
    };
    for (name, value) in from.iter().filter(|(name, _)| of_the_agent(name)) {
        to.append(name.clone(), value.clone());
    }
}

fn switching(accept: HeaderValue) -> Response {
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_parameter_is_taken_from_the_query() {
        let (disturbance, query) = understand("a=1&disturb=seed%3A7,drop:1&b=%26").unwrap();
        assert_eq!(disturbance, "seed:7,drop:1".parse().unwrap());
        assert_eq!(query, "a=1&b=%26");
        assert_eq!(
            understand("").unwrap(),
            (Disturbance::default(), String::new())
        );
        assert!(understand("disturb=often").is_err());
    }

    #[test]
    fn a_failing_connect_is_told_from_an_authorizers_no() {
        let answer = |status: u16, length: &str| {
            let answer = HttpResponse::builder().status(status);
            let answer = answer.header(CONTENT_LENGTH, length).body(None);
            refused(answer.unwrap()).status().as_u16()
        };
        assert_eq!(answer(403, "0"), 502);
        assert_eq!(answer(403, "40"), 403);
        assert_eq!(answer(500, "40"), 500);
    }
}
