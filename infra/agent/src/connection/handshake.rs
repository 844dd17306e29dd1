//! Opening a connection, and the reasons for which a connection fails.

use std::{error::Error as _, io, sync::Once, time::Duration};

use secrecy::ExposeSecret;
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

/// The longest duration of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Bytes of the largest message that is read; API Gateway's are at most 128 KB.
const MAX_INCOMING: usize = 1024 * 1024;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The reason for which there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A failure after which another attempt may succeed.
    Passing(String),
    /// The cloud does not accept the key.
    Refused(String),
}

/// Connects, and authenticates the agent.
pub(super) async fn connect(config: &Config) -> Result<Socket, Failure> {
    install_cryptography();
    let request = request(config).map_err(|error| Failure::of(&error, &config.url))?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_INCOMING))
        .max_frame_size(Some(MAX_INCOMING));
    let connecting = connect_async_with_config(request, Some(limits), true);
    match timeout(HANDSHAKE, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(Failure::of(&error, &config.url)),
        Err(_) => Err(Failure::Passing(format!(
            "no answer within {} s",
            HANDSHAKE.as_secs()
        ))),
    }
}

fn request(config: &Config) -> Result<Request, Error> {
    let mut request = config.url.as_str().into_client_request()?;
    let bearer = format!("Bearer {}", config.api_key.expose_secret());
    let mut bearer = HeaderValue::from_str(&bearer)?;
    bearer.set_sensitive(true);
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(
        "X-Agent-Id",
        HeaderValue::from_str(config.agent_id.as_str())?,
    );
    Ok(request)
}

/// Chooses the cryptography of the TLS library, which refuses to choose.
fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only where another part of the process has chosen already, which is as good.
        let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
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

/// Returns host and port: the rest of the address might hold a secret.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Describes an error with its causes.
pub(super) fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    for error in std::iter::successors(error.source(), |error| (*error).source()) {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
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
