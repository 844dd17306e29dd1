//! STS.

use aws_sdk_sts::Client;

use super::*;
use crate::CALLER_ARN;

#[tokio::test]
async fn every_caller_has_one_identity_unless_the_call_is_made_to_fail() {
    let fixture = Fixture::new();
    let client = Client::new(&fixture.aws.sdk_config());
    let identity = client.get_caller_identity().send().await.unwrap();
    assert_eq!(identity.arn(), Some(CALLER_ARN));
    let failures = fixture.aws.planned_failures();
    failures.arm(0, FailurePoint::Before, Failure::Internal);
    let error = client.get_caller_identity().send().await.unwrap_err();
    assert_eq!(error.code(), Some("InternalFailure"));
    let other = client.get_session_token().send().await.unwrap_err();
    assert_eq!(other.code(), Some("InvalidAction"));
    let calls = fixture.aws.calls().take();
    assert_eq!(calls[0].to_string(), "GetCallerIdentity");
}
