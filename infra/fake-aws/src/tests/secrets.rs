//! Secrets Manager.

use aws_sdk_secretsmanager::Client;

use super::*;

#[tokio::test]
async fn a_secret_has_the_version_that_was_stored_last_and_the_one_before() {
    let fixture = Fixture::new();
    let client = Client::new(&fixture.aws.sdk_config());
    let read = |label: &'static str| {
        let read = client.get_secret_value().secret_id("arn");
        read.version_stage(label).send()
    };
    let not_found = Some("ResourceNotFoundException");
    assert_eq!(read("AWSCURRENT").await.unwrap_err().code(), not_found);
    let secrets = fixture.aws.secrets();
    secrets.put("arn", "first", START);
    assert_eq!(read("AWSPREVIOUS").await.unwrap_err().code(), not_found);
    secrets.put("arn", "second", START + 1_500);
    secrets.put("arn", "third", START + 2_500);
    for (label, text, created) in [
        ("AWSCURRENT", "third", START + 2_500),
        ("AWSPREVIOUS", "second", START + 1_500),
    ] {
        let version = read(label).await.unwrap();
        assert_eq!(version.secret_string(), Some(text));
        let created_date = version.created_date().unwrap().to_millis().unwrap();
        assert_eq!(created_date.unsigned_abs(), created);
    }
    let calls = fixture.aws.calls().take();
    assert_eq!(calls[0].to_string(), "GetSecretValue arn");
}

#[tokio::test]
async fn a_read_can_be_made_to_fail() {
    let fixture = Fixture::new();
    fixture.aws.secrets().put("arn", "text", START);
    let client = Client::new(&fixture.aws.sdk_config());
    let failures = fixture.aws.planned_failures();
    failures.arm(0, FailurePoint::Before, Failure::Internal);
    let read = client.get_secret_value().secret_id("arn");
    let error = read.clone().send().await.unwrap_err();
    assert_eq!(error.code(), Some("InternalServiceError"));
    assert!(read.send().await.is_ok());
}
