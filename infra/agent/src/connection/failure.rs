//! Why a connection failed, for its person.

use std::{error::Error as _, io};

use tokio_tungstenite::tungstenite::{Error, http::StatusCode};
use url::Url;

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Worth another attempt.
    Passing(String),
    /// The cloud does not accept the key.
    Refused(String),
}

impl Failure {
    pub(super) fn of(error: &Error, url: &Url) -> Self {
        let status = match error {
            Error::Http(response) => response.status(),
            Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Self::Passing(format!("nothing listens at {}", place(url)));
            }
            other => return Self::Passing(describe(other)),
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Refused(format!(
                "{} does not accept this agent's id and key (HTTP {}); check --agent-id and the key, \
                 or have a new one made with `cargo xtask agent create`",
                place(url),
                status.as_u16(),
            )),
            _ if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Self::Passing(format!("{} answers HTTP {status}; check --url", place(url)))
            }
            _ => Self::Passing(format!("{} answers HTTP {status}", place(url))),
        }
    }
}

/// Host and port: the rest of the address might hold a secret.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// An error with its causes.
pub(super) fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::http::Response;

    use super::*;

    fn of(status: u16) -> Failure {
        let response = Response::builder().status(status).body(None).unwrap();
        let url = Url::parse("wss://agents.example/dev?token=x").unwrap();
        Failure::of(&Error::Http(Box::new(response)), &url)
    }

    #[test]
    fn only_a_refused_key_is_final() {
        for status in [401, 403] {
            assert!(matches!(of(status), Failure::Refused(_)), "{status}");
        }
        for status in [404, 429, 500, 502, 503] {
            assert!(matches!(of(status), Failure::Passing(_)), "{status}");
        }
    }

    #[test]
    fn the_address_is_named_without_its_query() {
        let Failure::Refused(text) = of(401) else {
            panic!("not refused");
        };
        assert!(text.contains("agents.example") && !text.contains("token"));
    }
}
