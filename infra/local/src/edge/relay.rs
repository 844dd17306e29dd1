//! HTTP: handed on to the emulator, and its answer handed back. The functions' calls to AWS are
//! counted, and fail at random while that is switched on.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bematic_protocol::messages::limits::MAX_MESSAGE_BYTES;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rand::RngExt as _;
use rand::rngs::StdRng;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use super::access::{Caller, Denial, admit, is_connection_path};
use crate::emulator::REGION;

/// How long an idle connection is kept: less than the 75 s after which the emulator closes it.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Where AWS puts an error's name, beside the body.
const ERROR_TYPE_HEADER: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// The type of the requests to services whose answers are XML.
const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// Where Lambda says that a function failed, beside the body.
const FUNCTION_ERROR_HEADER: &str = "x-amz-function-error";
/// The services that the functions work with, as their requests' `X-Amz-Target` begins.
const AWS_TARGET_PREFIXES: [&str; 2] = ["DynamoDB_", "AmazonSQS."];
/// The text of an authorizer's error that API Gateway answers with 401.
const UNAUTHORIZED_TEXT: &str = "Unauthorized";
/// The emulator's name in URLs and in `Host`, which over a Unix socket mean nothing.
const EMULATOR_HOST: &str = "localhost";

/// API Gateway's limit of a message to an agent, in bytes.
const MAX_POST_BYTES: usize = MAX_MESSAGE_BYTES;
/// The largest limit of an AWS service, which is DynamoDB's, in bytes.
const MAX_CALL_BYTES: usize = 16 * 1024 * 1024;

/// The functions' calls to AWS so far.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct CallCounts {
    pub(crate) made: u64,
    /// Calls that were made to fail: one half before they reached the emulator, the other half after it.
    pub(crate) failed: u64,
}

/// Whether a call fails before it takes effect, or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailurePoint {
    Before,
    After,
}

/// The functions' calls so far, and the dice for the next ones.
#[derive(Debug, Default)]
pub(super) struct CallFaults {
    pub(super) counts: CallCounts,
    /// The random numbers and the probability of a failure, while calls are made to fail.
    pub(super) dice: Option<(StdRng, f64)>,
}

impl CallFaults {
    /// Counts a call, and decides whether it fails.
    fn next_call_failure(&mut self) -> Option<FailurePoint> {
        self.counts.made += 1;
        let (random, probability) = self.dice.as_mut()?;
        let (fails, before) = (random.random_bool(*probability), random.random_bool(0.5));
        self.counts.failed += u64::from(fails);
        match (fails, before) {
            (false, _) => None,
            (true, true) => Some(FailurePoint::Before),
            (true, false) => Some(FailurePoint::After),
        }
    }
}

/// The emulator behind an edge.
#[derive(Debug, Clone)]
pub(crate) struct Emulator {
    /// The Unix socket that it listens on.
    pub(crate) socket: PathBuf,
    /// The id of its account's access key. The emulator takes it without a signature, so that it is
    /// secret.
    pub(crate) access_key_id: SecretString,
    /// The name of the function that authorizes handshakes.
    pub(crate) authorizer: String,
}

/// Connects to the emulator's socket, whatever the address.
type Connector = BoxCloneSyncService<Uri, TokioIo<UnixStream>, io::Error>;

pub(super) struct Relay {
    pub(super) emulator: Emulator,
    client: Client<Connector, Body>,
    call_faults: Mutex<CallFaults>,
}

impl Relay {
    pub(super) fn new(emulator: Emulator) -> Self {
        let socket = emulator.socket.clone();
        let connector = BoxCloneSyncService::new(service_fn(move |_: Uri| {
            let connecting = UnixStream::connect(socket.clone());
            async { connecting.await.map(TokioIo::new) }
        }));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .build(connector);
        Self {
            emulator,
            client,
            call_faults: Mutex::default(),
        }
    }

    /// Locks also after a holder panicked: nothing is left half changed.
    pub(super) fn lock_call_faults(&self) -> MutexGuard<'_, CallFaults> {
        self.call_faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides whether a request may be handed on.
    pub(super) fn admit(&self, request: &mut Parts) -> Result<Caller, Denial> {
        admit(request, self.emulator.access_key_id.expose_secret())
    }

    /// Hands a request on; a call of a function may be made to fail.
    pub(super) async fn handle(&self, request: Request, caller: Caller) -> Response {
        let (parts, body) = request.into_parts();
        let Some(limit) = aws_call_size_limit(&parts) else {
            return self.send(Request::from_parts(parts, body)).await;
        };
        // A body is read whole before it is refused: a caller that still sends would see a reset
        // connection instead of the answer.
        let body = to_bytes(body, MAX_CALL_BYTES).await.ok();
        let Some(body) = body.filter(|body| body.len() <= limit) else {
            let text = format!("the request is larger than {limit} bytes, which is AWS's limit");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return error_response(status, "PayloadTooLargeException", &text);
        };
        let request = Request::from_parts(parts, Body::from(body));
        let failure = match caller {
            Caller::Function => self.lock_call_faults().next_call_failure(),
            Caller::Tool | Caller::Anyone => None,
        };
        match failure {
            None => self.send(request).await,
            Some(FailurePoint::Before) => {
                injected_failure_response("before it was made: nothing happened")
            }
            Some(FailurePoint::After) => {
                self.send(request).await;
                injected_failure_response("after it was made: what it asked for has happened")
            }
        }
    }

    /// Whether the authorizer refuses a handshake with these headers, as API Gateway understands
    /// its error. The emulator's answer does not tell: so the authorizer, which changes nothing, is
    /// called again.
    pub(super) async fn authorizer_refuses(&self, headers: &HeaderMap) -> bool {
        let Emulator {
            authorizer,
            access_key_id,
            ..
        } = &self.emulator;
        let key = access_key_id.expose_secret();
        let texts = headers
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())));
        let texts: BTreeMap<_, _> = texts.collect();
        let event = json!({ "type": "REQUEST", "methodArn": "$connect", "headers": texts });
        let request = Request::post(format!("/2015-03-31/functions/{authorizer}/invocations"))
            .header(HOST, EMULATOR_HOST)
            // Of the account's own key, the emulator checks no signature.
            .header(
                AUTHORIZATION,
                format!("AWS4-HMAC-SHA256 Credential={key}/20260101/{REGION}/lambda/aws4_request"),
            )
            .body(Body::from(event.to_string()));
        let Ok(request) = request else { return false };
        let answer = self.send(request).await;
        if !answer.headers().contains_key(FUNCTION_ERROR_HEADER) {
            return false;
        }
        let error = to_bytes(answer.into_body(), MAX_CALL_BYTES).await;
        let error = error
            .ok()
            .and_then(|error| serde_json::from_slice::<Value>(&error).ok());
        error.is_some_and(|error| error["errorMessage"] == UNAUTHORIZED_TEXT)
    }

    async fn send(&self, mut request: Request) -> Response {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        let uri = format!("http://{EMULATOR_HOST}{path}");
        let sent = async {
            *request.uri_mut() = uri.parse()?;
            // Of the hop from the caller to here.
            request.headers_mut().remove(CONNECTION);
            anyhow::Ok(self.client.request(request).await?)
        };
        match sent.await {
            Ok(answer) => {
                let mut answer = answer.map(Body::new);
                answer.headers_mut().remove(CONNECTION);
                answer
            }
            Err(error) => {
                let text = format!("the emulator does not answer: {error}");
                error_response(StatusCode::BAD_GATEWAY, "BadGateway", &text)
            }
        }
    }
}

/// Returns the size limit of a function's call to AWS. `None` for any other request, and for a call
/// whose failure would only hide what happened, as of a function's log.
fn aws_call_size_limit(request: &Parts) -> Option<usize> {
    let path = request.uri.path();
    if is_connection_path(path) {
        let is_post = request.method == Method::POST;
        return Some(if is_post {
            MAX_POST_BYTES
        } else {
            MAX_CALL_BYTES
        });
    }
    let target = request.headers.get("x-amz-target")?.to_str().ok()?;
    let is_call = AWS_TARGET_PREFIXES
        .iter()
        .any(|service| target.starts_with(service));
    is_call.then_some(MAX_CALL_BYTES)
}

/// Answers a request that is not handed on, in the protocol that its SDK understands: XML for the
/// services that are called with forms, as CloudFormation is, and JSON for others.
pub(super) fn denial_response(denial: Denial, headers: &HeaderMap) -> Response {
    let (name, text) = denial.describe();
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_none_or(|kind| !kind.starts_with(FORM_CONTENT_TYPE.as_bytes())) {
        return error_response(StatusCode::FORBIDDEN, name, text);
    }
    let error = format!("<Error><Code>{name}</Code><Message>{text}</Message></Error>");
    let body = format!("<ErrorResponse>{error}</ErrorResponse>");
    (StatusCode::FORBIDDEN, [(CONTENT_TYPE, "text/xml")], body).into_response()
}

/// Answers with status 400, after which the SDKs do not repeat the call.
fn injected_failure_response(when: &str) -> Response {
    let text = format!("the local stack was asked to let calls fail; this one did {when}");
    error_response(StatusCode::BAD_REQUEST, "Disturbed", &text)
}

/// Returns an error as AWS's JSON protocols spell it.
fn error_response(status: StatusCode, name: &'static str, text: &str) -> Response {
    let body = json!({ "__type": name, "message": text }).to_string();
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (ERROR_TYPE_HEADER, name),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn limit(method: &str, path: &str, target: Option<&str>) -> Option<usize> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(target) = target {
            request = request.header("X-Amz-Target", target);
        }
        aws_call_size_limit(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_requests_to_the_services_of_the_functions_are_calls() {
        let connection = "/_aws/execute-api/a1/prod/@connections/c1";
        assert_eq!(limit("POST", connection, None), Some(MAX_POST_BYTES));
        assert_eq!(limit("DELETE", connection, None), Some(MAX_CALL_BYTES));
        for target in ["DynamoDB_20120810.GetItem", "AmazonSQS.SendMessage"] {
            assert_eq!(
                limit("POST", "/", Some(target)),
                Some(MAX_CALL_BYTES),
                "{target}"
            );
        }
        for (path, target) in [
            ("/", Some("Logs_20140328.PutLogEvents")),
            ("/2018-06-01/runtime/invocation/next", None),
            ("/_aws/execute-api/b2/$default/slack/commands", None),
        ] {
            assert_eq!(limit("POST", path, target), None, "{path} {target:?}");
        }
    }

    #[test]
    fn half_of_the_failures_come_before_the_call_and_half_after() {
        let decided = |seed| {
            let dice = Some((StdRng::seed_from_u64(seed), 0.2));
            let counts = CallCounts::default();
            let mut calls = CallFaults { counts, dice };
            (0..1000)
                .map(|_| calls.next_call_failure())
                .collect::<Vec<_>>()
        };
        let calls = decided(42);
        assert_eq!(calls, decided(42));
        assert_ne!(calls, decided(43));
        let count = |failure| calls.iter().filter(|call| **call == Some(failure)).count();
        let (before, after) = (count(FailurePoint::Before), count(FailurePoint::After));
        assert!(
            (60..140).contains(&before) && (60..140).contains(&after),
            "{before}, {after}"
        );
    }
}
