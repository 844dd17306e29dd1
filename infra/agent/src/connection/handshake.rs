//! Opening a connection, and the reasons for which a connection fails.

use std::{error::Error as _, io, iter, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, StatusCode, header::AUTHORIZATION},
        protocol::WebSocketConfig,
    },
};
use url::Url;

use crate::config::Config;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of the largest message that is read; API Gateway's are at most 128 KB.
const MAX_INCOMING_BYTES: usize = 1024 * 1024;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The reason for which there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A failure after which another attempt may succeed.
    Temporary(String),
    /// The cloud does not accept the key (HTTP 401).
    Refused(String),
}

/// Connects, and authenticates the agent.
pub(super) async fn connect(config: &Config, api_key: &SecretString) -> Result<Socket, Failure> {
    // The TLS library refuses to choose its cryptography. This fails only where another part of the
    // process has chosen already, which is as good.
    let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let failure = |error: Error| Failure::of(&error, &config.url);
    let request = handshake_request(config, api_key).map_err(failure)?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_INCOMING_BYTES))
        .max_frame_size(Some(MAX_INCOMING_BYTES));
    let connecting = connect_async_with_config(request, Some(limits), true);
    match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(connected) => connected.map(|(socket, _)| socket).map_err(failure),
        Err(_) => Err(Failure::Temporary(format!(
            "no answer within {} s",
            HANDSHAKE_TIMEOUT.as_secs()
        ))),
    }
}

fn handshake_request(config: &Config, api_key: &SecretString) -> Result<Request, Error> {
    let mut request = config.url.as_str().into_client_request()?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", api_key.expose_secret()))?;
    bearer.set_sensitive(true);
    let agent_id = HeaderValue::from_str(config.agent_id.as_str())?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request.headers_mut().insert("X-Agent-Id", agent_id);
    Ok(request)
}

impl Failure {
    fn of(error: &Error, url: &Url) -> Self {
        let host = host_and_port(url);
        let status = match error {
            Error::Http(response) => response.status(),
            Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Self::Temporary(format!("nothing listens at {host}"));
            }
            other => return Self::Temporary(describe_error(other)),
        };
        let answer = format!("{host} answers HTTP {status}");
        match status {
            StatusCode::UNAUTHORIZED => Self::Refused(format!(
                "{host} does not accept this agent's id and key (HTTP 401); check --agent-id and the key, \
                 or have a new key made with `bematic agent create <id> --add-key`"
            )),
            // API Gateway's answer where nothing is deployed (yet), and a firewall's: it does not
            // speak of the key, whose refusal is a 401.
            StatusCode::FORBIDDEN => Self::Temporary(format!(
                "{answer}: nothing is deployed at this address yet, or a firewall keeps this machine out; \
                 check --url with its stage (the part after the host)"
            )),
            StatusCode::TOO_MANY_REQUESTS => Self::Temporary(answer),
            _ if status.is_client_error() => Self::Temporary(format!("{answer}; check --url")),
            _ => Self::Temporary(answer),
        }
    }
}

/// Returns host and port: the rest of the address might hold a secret.
fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Describes an error with its causes.
pub(super) fn describe_error(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |error| (*error).source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
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
        assert!(matches!(of(401), Failure::Refused(_)));
        for status in [400, 403, 404, 410, 429, 500, 502, 503] {
            assert!(matches!(of(status), Failure::Temporary(_)), "{status}");
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
