//! The adapter to Secrets Manager, and what is kept of a secret.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use bematic::{
    error::chain,
    ports::SecretSource as _,
    secret::{ACCEPT_PREVIOUS, CachedSecret},
};
use bematic_aws::secrets::SecretsManager;
use bematic_protocol::time::{Clock, Timestamp};
use fake_aws::{Failure, FailurePoint, FakeAws, Template};
use secrecy::ExposeSecret as _;

const NOW: u64 = 1_700_000_000_000;
const ARN: &str = "arn:aws:secretsmanager:us-east-1:0:secret:signing-secret";

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }
}

fn aws() -> FakeAws {
    FakeAws::new(&Template::parse("{}").unwrap(), Arc::new(|| NOW))
}

fn stored(aws: &FakeAws) -> SecretsManager {
    SecretsManager::new(&aws.sdk_config(), ARN.to_owned())
}

#[tokio::test]
async fn versions_are_read_by_their_labels_with_their_times() {
    let aws = aws();
    let secret = stored(&aws);
    aws.secrets().put(ARN, "first", NOW - 1_500);
    aws.secrets().put(ARN, "second", NOW - 250);
    let current = secret.current().await.unwrap();
    assert_eq!(current.value.expose_secret(), "second");
    assert_eq!(current.created_at, Timestamp::from_millis(NOW - 250));
    let previous = secret.previous().await.unwrap().unwrap();
    assert_eq!(previous.value.expose_secret(), "first");
    assert_eq!(previous.created_at, Timestamp::from_millis(NOW - 1_500));
}

#[tokio::test]
async fn a_secret_that_was_never_rotated_has_no_previous_version() {
    let aws = aws();
    aws.secrets().put(ARN, "first", NOW);
    let secret = CachedSecret::new(Arc::new(stored(&aws)), Arc::new(Still)).with_previous();
    let known = secret.get().await.unwrap();
    assert_eq!(known.current.expose_secret(), "first");
    assert!(known.previous.is_none());
}

#[tokio::test]
async fn the_previous_version_is_not_read_once_it_is_not_accepted() {
    let aws = aws();
    let hour = u64::try_from(ACCEPT_PREVIOUS.as_millis()).unwrap();
    aws.secrets().put(ARN, "first", 0);
    aws.secrets().put(ARN, "second", NOW - hour);
    let secret = CachedSecret::new(Arc::new(stored(&aws)), Arc::new(Still)).with_previous();
    assert!(secret.get().await.unwrap().previous.is_none());
    assert_eq!(aws.calls().take().len(), 1);
}

#[tokio::test]
async fn a_failure_names_its_cause() {
    let aws = aws();
    let secret = stored(&aws);
    let missing = secret.current().await.unwrap_err();
    assert!(
        chain(&missing).contains("ResourceNotFoundException"),
        "{missing}"
    );
    aws.secrets().put(ARN, "first", NOW);
    for failure in [Failure::Internal, Failure::Connection] {
        aws.planned_failures().arm(0, FailurePoint::Before, failure);
        assert!(secret.previous().await.is_err(), "{failure:?}");
    }
}

#[tokio::test]
async fn a_secret_is_in_no_text() {
    let aws = aws();
    aws.secrets().put(ARN, "xoxb-old", NOW);
    aws.secrets().put(ARN, "xoxb-new", NOW);
    let source = stored(&aws);
    let version = source.current().await.unwrap();
    let secret = CachedSecret::new(Arc::new(source.clone()), Arc::new(Still)).with_previous();
    let known = secret.get().await.unwrap();
    let texts = format!("{source:?} {version:?} {secret:?} {known:?}");
    assert!(!texts.contains("xoxb"), "{texts}");
}
