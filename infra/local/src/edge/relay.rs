//! HTTP: handed on to the emulator as it is, and its answer handed back.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bematic_protocol::messages::limits::MESSAGE_BYTES;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::json;

use super::calls::{Call, Calls};
use super::dice::Failure;

/// How long a connection to the emulator is kept without use: less than the 75 s after which the
/// emulator closes it.
const KEPT: Duration = Duration::from_secs(30);
/// Bytes of a call that a function makes at most; AWS's own largest are DynamoDB's 16 MB.
const CALL_BYTES: usize = 16 * 1024 * 1024;
/// Where AWS puts an error's name, beside the body.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Hands requests on.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    emulator: SocketAddr,
    client: Client<HttpConnector, Body>,
}

impl Relay {
    pub(super) fn new(emulator: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .build(connector);
        Self { emulator, client }
    }

    /// Hands a request on; a call of a function fails if it is its turn.
    pub(super) async fn handle(&self, request: Request, calls: &Calls) -> Response {
        let (parts, body) = request.into_parts();
        let call = Call::of(&parts);
        if call == Call::Other {
            return self.send(Request::from_parts(parts, body)).await;
        }
        let Ok(body) = to_bytes(body, CALL_BYTES).await else {
            return too_large("the request is larger than any that AWS takes");
        };
        if call == Call::Post && body.len() > MESSAGE_BYTES {
            return too_large("a message to a connection has at most 128 KB");
        }
        let request = Request::from_parts(parts, Body::from(body));
        match calls.next() {
            None => self.send(request).await,
            Some(Failure::Before) => disturbed("before it was made: nothing happened"),
            Some(Failure::After) => {
                self.send(request).await;
                disturbed("after it was made: what it asked for has happened")
            }
        }
    }

    async fn send(&self, mut request: Request) -> Response {
        match self.address(request.uri()) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return error_answer(StatusCode::BAD_REQUEST, "BadUri", &error),
        }
        // Of the hop from the caller to here.
        request.headers_mut().remove(CONNECTION);
        match self.client.request(request).await {
            Ok(answer) => {
                let mut answer = answer.map(Body::new);
                answer.headers_mut().remove(CONNECTION);
                answer
            }
            Err(error) => {
                let text = format!("the emulator at {} does not answer: {error}", self.emulator);
                error_answer(StatusCode::BAD_GATEWAY, "BadGateway", &text)
            }
        }
    }

    fn address(&self, asked: &Uri) -> Result<Uri, String> {
        let authority: Authority = self
            .emulator
            .to_string()
            .parse()
            .map_err(|error| format!("{}: {error}", self.emulator))?;
        let path = asked.path_and_query().cloned();
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority)
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|error| format!("{asked}: {error}"))
    }
}

fn too_large(text: &str) -> Response {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    error_answer(status, "PayloadTooLargeException", text)
}

/// 400, since the SDKs repeat a call that failed otherwise, and what is looked for is what happens
/// when a call has failed.
fn disturbed(when: &str) -> Response {
    let text = format!("the local stack was asked to let calls fail; this one did {when}");
    error_answer(StatusCode::BAD_REQUEST, "Disturbed", &text)
}

/// An error as AWS's JSON protocols spell it.
fn error_answer(status: StatusCode, name: &'static str, text: &str) -> Response {
    let body = Bytes::from(json!({ "__type": name, "message": text }).to_string());
    let headers = [(CONTENT_TYPE, "application/json"), (ERROR_TYPE, name)];
    (status, headers, body).into_response()
}
