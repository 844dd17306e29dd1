//! Refuses requests that a web page of another site can send. A page in a browser on this machine
//! reaches every port of the loopback interface, without a password.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The names of the loopback interface, as they appear in URLs.
const LOOPBACK_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];
/// Browsers say with it which site a request comes from. No page can change or omit it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Browsers say with it what a request is for.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Middleware that answers 403 to a request that a page of another site can send, and passes on
/// what programs and the server's own pages send.
pub async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    match find_foreign_trait(request.method(), request.headers()) {
        None => next.run(request).await,
        Some(found) => {
            let refusal = format!("the local stack is for programs on this machine: {found}\n");
            (StatusCode::FORBIDDEN, refusal).into_response()
        }
    }
}

/// Returns what shows that a page of another site can have sent the request; `None` if nothing
/// does.
fn find_foreign_trait(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    // A browser asks with OPTIONS whether a page may send what it could not send without being
    // asked.
    if method == Method::OPTIONS {
        return Some("it answers no preflight");
    }
    // A page whose own name was made to resolve to the loopback interface (DNS rebinding) has that
    // name here.
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let Some(host) = host.filter(|host| hosts.next().is_none() && is_loopback(host)) else {
        return Some("Host is not a name of the loopback interface");
    };
    let own = format!("http://{host}");
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if origins.any(|origin| origin != own.as_str()) {
        return Some("Origin is another site");
    }
    let is = |name, values: &[&str]| {
        headers
            .get(name)
            .is_some_and(|it| values.iter().any(|value| it == value))
    };
    let from_elsewhere =
        headers.contains_key(SEC_FETCH_SITE) && !is(SEC_FETCH_SITE, &["none", "same-origin"]);
    // A link to a page may be anywhere: following it changes nothing, and shows nothing to where it
    // was.
    if from_elsewhere && !is(SEC_FETCH_MODE, &["navigate"]) {
        return Some("Sec-Fetch-Site is another site");
    }
    None
}

/// Whether a `Host` header, with a port or without, names the loopback interface.
fn is_loopback(host: &str) -> bool {
    LOOPBACK_NAMES.iter().any(|name| {
        let port = host.strip_prefix(name);
        port.is_some_and(|port| {
            let digits = port.strip_prefix(':');
            port.is_empty()
                || digits.is_some_and(|digits| digits.bytes().all(|it| it.is_ascii_digit()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        find_foreign_trait(request.method(), request.headers()).is_some()
    }

    #[test]
    fn programs_and_the_servers_own_pages_pass() {
        for headers in [
            &[("host", "127.0.0.1:80")][..],
            &[("host", "localhost")],
            &[("host", "[::1]:8080")],
            &[
                ("host", "127.0.0.1:9"),
                ("origin", "http://127.0.0.1:9"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("host", "localhost:9"), ("origin", "http://localhost:9")],
            // A person opens the page: from the address bar, or by a link on another page.
            &[
                ("host", "127.0.0.1:9"),
                ("sec-fetch-site", "none"),
                ("sec-fetch-mode", "navigate"),
            ],
            &[
                ("host", "127.0.0.1:9"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
            ],
        ] {
            assert!(!is_refused("GET", headers), "{headers:?}");
        }
    }

    #[test]
    fn what_a_page_of_another_site_can_send_is_refused() {
        let local = ("host", "127.0.0.1:9");
        for headers in [
            &[][..],
            &[("host", "evil.example:9")],
            &[("host", "127.0.0.1.evil.example:9")],
            &[("host", "localhost.evil.example")],
            &[("host", "127.0.0.1:9@evil.example")],
            &[local, ("host", "evil.example")],
            &[local, ("origin", "https://evil.example")],
            &[local, ("origin", "null")],
            // Another server on this machine, and the same under its other name.
            &[local, ("origin", "http://127.0.0.1:8080")],
            &[local, ("origin", "http://localhost:9")],
            &[local, ("origin", "https://127.0.0.1:9")],
            &[
                local,
                ("origin", "http://127.0.0.1:9"),
                ("origin", "https://evil.example"),
            ],
            // An image or a script, which have no Origin.
            &[
                local,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors"),
            ],
            &[local, ("sec-fetch-site", "same-site")],
        ] {
            assert!(is_refused("POST", headers), "{headers:?}");
        }
        assert!(is_refused("OPTIONS", &[local]));
    }
}
