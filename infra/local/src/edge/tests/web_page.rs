//! What a web page of another site can send, from a browser on this machine; and who calls AWS.

use reqwest::Method;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::cloud::Event;
use super::{ACCESS_KEY_ID, Fixture};

const CREATE: &str = "/2015-03-31/functions";
const INVOKE: &str = "/2015-03-31/functions/f/invocations";
const WEBHOOK: &str = "/_aws/execute-api/api/$default/slack/commands";

impl Fixture {
    /// The status of a request; `text/plain` is a type that a page may send without being asked.
    async fn status_of(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let url = format!("{}{path}", self.edge.endpoint());
        let request = reqwest::Client::new().request(method, url);
        let request = request.header("content-type", "text/plain").body("{}");
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.send().await.expect("an answer").status().as_u16()
    }
}

#[tokio::test]
async fn what_a_page_of_another_site_sends_does_not_reach_the_cloud() {
    let mut fixture = Fixture::start().await;
    // Even with the stack's key, which a page does not know.
    let key = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20260101/us-east-1/lambda/aws4_request"
    );
    let host = format!("evil.example:{}", fixture.edge.port());
    for path in ["/", CREATE, INVOKE, WEBHOOK] {
        for trait_of_page in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("host", host.as_str()),
            ("sec-fetch-site", "cross-site"),
        ] {
            let headers = [trait_of_page, ("authorization", &key)];
            let status = fixture.status_of(Method::POST, path, &headers).await;
            assert_eq!(status, 403, "{path} {trait_of_page:?}");
        }
        let preflight = [("access-control-request-method", "POST")];
        let status = fixture.status_of(Method::OPTIONS, path, &preflight).await;
        assert_eq!(status, 403, "{path}");
    }
    assert!(fixture.cloud.nothing_more());
}

#[tokio::test]
async fn a_page_of_another_site_opens_no_websocket() {
    let mut fixture = Fixture::start().await;
    for (name, value) in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let mut request = fixture.url("").into_client_request().expect("a request");
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        match connect_async(request).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 403, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(fixture.cloud.nothing_more());
}

#[tokio::test]
async fn code_is_run_only_for_the_stacks_key() {
    let mut fixture = Fixture::start().await;
    let signed = |key: &str| {
        format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/lambda/aws4_request")
    };
    for path in [CREATE, INVOKE] {
        assert_eq!(fixture.status_of(Method::POST, path, &[]).await, 403);
        let test = signed("test");
        let status = fixture
            .status_of(Method::POST, path, &[("authorization", &test)])
            .await;
        assert_eq!(status, 403);
        assert!(fixture.cloud.nothing_more());

        let own = signed(ACCESS_KEY_ID);
        let status = fixture
            .status_of(Method::POST, path, &[("authorization", &own)])
            .await;
        assert_eq!(status, 202);
        assert!(matches!(fixture.cloud.next().await, Event::Call { .. }));
    }
    let status = fixture.status_of(Method::POST, WEBHOOK, &[]).await;
    assert_eq!(status, 202, "Slack has no AWS credentials");
}
