//! Signed HTTP requests to AWS services whose SDK's crate would be too large for the one call that
//! is needed.

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::Request;

/// Sends a request to an AWS service, signed with the credentials and for the region of `config`.
pub async fn send_signed(
    config: &SdkConfig,
    service: &str,
    mut request: Request<String>,
) -> Result<reqwest::Response> {
    sign_request(config, service, &mut request).await?;
    Ok(reqwest::Client::new().execute(request.try_into()?).await?)
}

/// Returns the region of `config`.
pub(crate) fn region(config: &SdkConfig) -> Result<&str> {
    let region = config.region().map(AsRef::as_ref);
    region
        .context("no AWS region: set AWS_REGION, or a region in the profile that AWS_PROFILE names")
}

/// Adds a signature to a request, with the credentials and for the region of `config`.
pub(crate) async fn sign_request(
    config: &SdkConfig,
    service: &str,
    request: &mut Request<String>,
) -> Result<()> {
    let no_credentials = "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
                          AWS_SECRET_ACCESS_KEY";
    let provider = config.credentials_provider().context(no_credentials)?;
    let credentials = provider.provide_credentials().await;
    let identity = credentials.context(no_credentials)?.into();
    let time = config.time_source();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region(config)?)
        .name(service)
        .time(time.context("the clock is not configured")?.now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        headers.push((name.as_str(), value.to_str()?));
    }
    let body = SignableBody::Bytes(request.body().as_bytes());
    let (method, uri) = (request.method().as_str(), request.uri().to_string());
    let unsigned = SignableRequest::new(method, uri, headers.into_iter(), body)?;
    let (instructions, _) = sign(unsigned, &parameters)?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}
