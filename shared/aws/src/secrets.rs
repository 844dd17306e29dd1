//! The adapter to Secrets Manager, which keeps the deployment's secrets.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_secretsmanager::{
    Client,
    error::SdkError,
    operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput},
};
use bematic::{
    error::SecretError,
    ports::{SecretSource, SecretVersion},
};
use bematic_protocol::time::Timestamp;
use secrecy::SecretString;

/// A secret in Secrets Manager, whose text is the secret.
///
/// Secrets Manager labels a new version `AWSCURRENT`, and the version that had this label before
/// `AWSPREVIOUS`, until the next version.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
#[derive(Debug, Clone)]
pub struct SecretsManager {
    client: Client,
    arn: String,
}

impl SecretsManager {
    /// Creates an adapter for the secret with this ARN.
    pub fn new(sdk: &SdkConfig, arn: String) -> Self {
        let client = Client::new(sdk);
        Self { client, arn }
    }

    /// Reads the version with this label.
    async fn read(&self, label: &str) -> Result<GetSecretValueOutput, ReadError> {
        let call = self.client.get_secret_value().secret_id(&self.arn);
        call.version_stage(label).send().await
    }
}

type ReadError = SdkError<GetSecretValueError>;

/// Whether there is no version with the label, or no secret.
fn is_not_found(error: &ReadError) -> bool {
    let error = error.as_service_error();
    error.is_some_and(GetSecretValueError::is_resource_not_found_exception)
}

fn call_error(error: ReadError) -> SecretError {
    let source = error.into();
    SecretError::Call { source }
}

/// Returns the version that was read. A file that was stored as a secret may end with a newline.
fn parse_version(read: &GetSecretValueOutput) -> Result<SecretVersion, SecretError> {
    let text = read.secret_string().unwrap_or_default().trim();
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    let created = read.created_date().and_then(|it| it.to_millis().ok());
    let created = created.and_then(|millis| millis.try_into().ok());
    Ok(SecretVersion {
        value: SecretString::from(text),
        created_at: Timestamp::from_millis(created.unwrap_or_default()),
    })
}

#[async_trait]
impl SecretSource for SecretsManager {
    async fn current(&self) -> Result<SecretVersion, SecretError> {
        let read = self.read("AWSCURRENT").await;
        parse_version(&read.map_err(call_error)?)
    }

    async fn previous(&self) -> Result<Option<SecretVersion>, SecretError> {
        match self.read("AWSPREVIOUS").await {
            Err(error) if is_not_found(&error) => Ok(None),
            read => parse_version(&read.map_err(call_error)?).map(Some),
        }
    }
}
