//! Who may call AWS through the edge.
//!
//! The emulator checks what functions sign, and what their roles allow. Of its account's own key,
//! however, it checks the id alone, and it takes a key `test` beside it, which is the same
//! everywhere. So the edge passes on only what names the stack's key, which is random, or a
//! function's.
//!
//! The exception is data: calls of DynamoDB, SQS and CloudWatch Logs that name any other key are
//! made with the stack's, so that the many tools that call a local endpoint with credentials made
//! up for it can look at the tables, the queues and the logs. None of these calls brings code here,
//! but a message that one puts into a queue is handled like any other: whoever can reach the port can
//! have the local stack's agent run a task. A web page cannot make one: it needs two headers that a browser lets no
//! page send without a preflight, and the edge answers none.

use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use url::form_urlencoded;

/// The beginning of the paths of deployed APIs, which agents and Slack call.
const DEPLOYED_API_PREFIX: &str = "/_aws/execute-api/";
/// The management of connections, below an API's stage.
const CONNECTION_PATHS: [&str; 2] = ["/@connections/", "/%40connections/"];
/// The beginning of the ids of temporary access keys; only functions have one here.
const TEMPORARY_KEY_PREFIX: &str = "ASIA";
/// The query parameters with which a request can name its access key instead of in a header.
const CREDENTIAL_QUERY_PARAMETERS: [&str; 2] = ["x-amz-credential", "awsaccesskeyid"];
/// The services that hold data, as their requests' `X-Amz-Target` begins.
const DATA_TARGET_PREFIXES: [&str; 3] = ["DynamoDB_20120810.", "AmazonSQS.", "Logs_20140328."];

/// Who a request is from, by the access key that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A function, with the temporary key of its role.
    Function,
    /// A program of the developer's.
    Tool,
    /// Anybody: a request to a deployed API, which authorizes it itself.
    Anyone,
}

/// Why a call of AWS is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// It names no access key.
    Unsigned,
    /// It names another access key than the stack's.
    UnknownKey,
}

impl Denial {
    /// The error's name and text, as AWS answers with them.
    pub(super) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Unsigned => (
                "MissingAuthenticationToken",
                "the request is not signed; the local stack's credentials are awsAccessKeyId and \
                 awsSecretAccessKey in its stack.json",
            ),
            Self::UnknownKey => (
                "UnrecognizedClientException",
                "this access key is not the local stack's; its credentials are awsAccessKeyId and \
                 awsSecretAccessKey in its stack.json",
            ),
        }
    }
}

/// Decides whether a request may be passed on, where `own_key` is the id of the stack's access key.
/// A request for data with another key gets the stack's.
pub(super) fn admit(request: &mut Parts, own_key: &str) -> Result<Caller, Denial> {
    let keys = named_keys(request);
    if keys.is_empty() {
        let path = request.uri.path();
        let is_open = path.starts_with(DEPLOYED_API_PREFIX) && !is_connection_path(path);
        return is_open.then_some(Caller::Anyone).ok_or(Denial::Unsigned);
    }
    if keys.iter().all(|key| key == own_key) {
        return Ok(Caller::Tool);
    }
    if keys.iter().all(|key| key.starts_with(TEMPORARY_KEY_PREFIX)) {
        return Ok(Caller::Function);
    }
    let signed = signed_for_data(request, &keys, own_key).ok_or(Denial::UnknownKey)?;
    request.headers.insert(AUTHORIZATION, signed);
    Ok(Caller::Tool)
}

/// Whether a path is of API Gateway's management of connections.
pub(super) fn is_connection_path(path: &str) -> bool {
    CONNECTION_PATHS.iter().any(|part| path.contains(part))
}

/// Returns the ids of the access keys that a request names, at any place where the emulator looks
/// for one. A signature that names none has an empty id.
fn named_keys(request: &Parts) -> Vec<String> {
    let signatures = request.headers.get_all(AUTHORIZATION).iter();
    let signatures = signatures.filter(|value| value.as_bytes().starts_with(b"AWS"));
    let signed = signatures.map(|value| named_key(value).unwrap_or_default().to_owned());
    let query = request.uri.query().unwrap_or_default();
    let parameters = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| {
        CREDENTIAL_QUERY_PARAMETERS
            .iter()
            .any(|parameter| name.eq_ignore_ascii_case(parameter))
    });
    let presigned = parameters.map(|(_, value)| {
        let key = value.split('/').next();
        key.unwrap_or_default().to_owned()
    });
    signed.chain(presigned).collect()
}

/// Returns the id in `AWS4-HMAC-SHA256 Credential=<id>/<date>/<region>/<service>/aws4_request, …`.
fn named_key(authorization: &HeaderValue) -> Option<&str> {
    let (_, credential) = authorization.to_str().ok()?.split_once("Credential=")?;
    Some(credential.split_once('/')?.0)
}

/// Returns the signature of a call for data, with the stack's key instead of its one own; the
/// emulator does not check the rest of it. `None` for any other request.
fn signed_for_data(request: &Parts, keys: &[String], own_key: &str) -> Option<HeaderValue> {
    let [key] = keys else { return None };
    let target = request.headers.get("x-amz-target")?.to_str().ok()?;
    let is_data = DATA_TARGET_PREFIXES
        .iter()
        .any(|prefix| target.starts_with(prefix));
    let is_call = request.method == Method::POST && request.uri.path() == "/";
    if key.is_empty() || !is_data || !is_call || request.uri.query().is_some() {
        return None;
    }
    let signature = request.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (named, own) = (
        format!("Credential={key}/"),
        format!("Credential={own_key}/"),
    );
    HeaderValue::from_str(&signature.replacen(&named, &own, 1)).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const OWN: &str = "LOCAL42";
    const DATA: &str = "DynamoDB_20120810.GetItem";

    fn signature(key: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s/aws4_request, SignedHeaders=host"
        )
    }

    /// Admits a POST, and returns who it is from and the signature that is passed on.
    fn admitted(path: &str, headers: &[(&str, &str)]) -> (Result<Caller, Denial>, Option<String>) {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let caller = admit(&mut parts, OWN);
        let signature = parts.headers.get(AUTHORIZATION);
        (caller, signature.map(|it| it.to_str().unwrap().to_owned()))
    }

    #[test]
    fn agents_and_slack_call_deployed_apis_without_a_key() {
        for headers in [&[][..], &[("authorization", "Bearer bm_00")]] {
            let path = "/_aws/execute-api/a1/prod?token=1";
            assert_eq!(admitted(path, headers).0, Ok(Caller::Anyone));
            for path in [
                "/",
                "/_ministack/reset",
                "/2015-03-31/functions",
                "/2015-03-31/functions/f/invocations",
                "/_aws/execute-api/a1/prod/@connections/c1",
                "/_aws/execute-api/a1/prod/%40connections/c1",
            ] {
                assert_eq!(admitted(path, headers).0, Err(Denial::Unsigned), "{path}");
            }
        }
    }

    #[test]
    fn the_stacks_key_and_functions_keys_are_passed_on_as_they_are() {
        let path = "/2015-03-31/functions";
        for (key, caller) in [(OWN, Caller::Tool), ("ASIA00FF", Caller::Function)] {
            let signature = signature(key);
            let admitted_as = admitted(path, &[("authorization", &signature)]);
            assert_eq!(admitted_as, (Ok(caller), Some(signature)));
            let presigned = format!("{path}?a=1&X-Amz-Credential={key}%2F20260101");
            assert_eq!(admitted(&presigned, &[]).0, Ok(caller));
        }
    }

    #[test]
    fn another_key_opens_nothing_that_can_run_code() {
        let test = signature("test");
        for headers in [
            &[("authorization", test.as_str())][..],
            &[("authorization", &signature(""))],
            &[("authorization", "AWS4-HMAC-SHA256")],
            &[("authorization", "AWS test:c2lnbmF0dXJl")],
            &[
                ("authorization", &test),
                ("x-amz-target", "AWSScheduler.CreateSchedule"),
            ],
            // Several keys, of which the emulator would take one.
            &[("authorization", &signature(OWN)), ("authorization", &test)],
        ] {
            for path in ["/", "/2015-03-31/functions", "/_aws/execute-api/a1/prod"] {
                assert_eq!(
                    admitted(path, headers).0,
                    Err(Denial::UnknownKey),
                    "{path} {headers:?}"
                );
            }
        }
        for query in [
            "X-Amz-Credential=test%2F1",
            "x-amz-credential=test",
            "AWSAccessKeyId=test",
        ] {
            let path = format!("/2015-03-31/functions?{query}");
            assert_eq!(admitted(&path, &[]).0, Err(Denial::UnknownKey), "{query}");
            let own = signature(OWN);
            let both = admitted(&path, &[("authorization", &own)]);
            assert_eq!(both.0, Err(Denial::UnknownKey), "{query}");
        }
    }

    #[test]
    fn calls_for_data_are_made_with_the_stacks_key_whichever_they_name() {
        let made_up = signature("test");
        let headers = [("authorization", made_up.as_str()), ("x-amz-target", DATA)];
        assert_eq!(
            admitted("/", &headers),
            (Ok(Caller::Tool), Some(signature(OWN)))
        );
        // Only as the SDKs make them: elsewhere, the path would decide what is called.
        for path in ["/2015-03-31/functions", "/?Action=CreateStack"] {
            assert_eq!(
                admitted(path, &headers).0,
                Err(Denial::UnknownKey),
                "{path}"
            );
        }
        assert_eq!(admitted("/", &headers[1..]).0, Err(Denial::Unsigned));
        let presigned = admitted("/?X-Amz-Credential=test", &headers[1..]);
        assert_eq!(presigned.0, Err(Denial::UnknownKey));
    }
}
