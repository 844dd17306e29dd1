//! Opening a connection.

use std::{sync::Once, time::Duration};

use secrecy::ExposeSecret;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, header::AUTHORIZATION},
        protocol::WebSocketConfig,
    },
};

use super::{endpoint::Endpoint, failure::Failure};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Bytes of the largest message that is read; API Gateway's are at most 128 KB.
const MAX_INCOMING: usize = 1024 * 1024;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects, and proves who the agent is.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<Socket, Failure> {
    install_cryptography();
    let request = request(endpoint).map_err(|error| Failure::of(&error, &endpoint.url))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_INCOMING))
        .max_frame_size(Some(MAX_INCOMING));
    match timeout(
        HANDSHAKE,
        connect_async_with_config(request, Some(config), true),
    )
    .await
    {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(Failure::of(&error, &endpoint.url)),
        Err(_) => Err(Failure::Passing(format!(
            "no answer within {} s",
            HANDSHAKE.as_secs()
        ))),
    }
}

fn request(endpoint: &Endpoint) -> Result<Request, tungstenite::Error> {
    let mut request = endpoint.url.as_str().into_client_request()?;
    let bearer = format!("Bearer {}", endpoint.api_key.expose_secret());
    let mut bearer = HeaderValue::from_str(&bearer)?;
    bearer.set_sensitive(true);
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(
        "X-Agent-Id",
        HeaderValue::from_str(endpoint.agent_id.as_str())?,
    );
    Ok(request)
}

/// The TLS library is told which cryptography to use, since it refuses to choose.
fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only where another part of the process has chosen already, which is as good.
        let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}
