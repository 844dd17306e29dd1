//! The signing secret: read at first use, rotated, and out of reach.

#![expect(clippy::disallowed_methods, reason = "a test measures tokio's time")]

use std::time::Duration;

use async_trait::async_trait;
use bematic::{
    handlers::webhook::{Request, Response, Webhook},
    secret::{ACCEPT_PREVIOUS, KEEP, MIN_INTERVAL},
    slack::signature::sign,
};
use bematic_protocol::time::Clock as _;
use fake_aws::{Call, Failure, FailurePoint, Hook, Service};
use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use crate::world::{SECRET, SIGNING_SECRET, World};

const NEW_SECRET: &str = "9a742231b10e8888abcd99yyyzzz85a5";
const READ: &str = "GetSecretValue SigningSecret";
/// A request without any call but those that verify it.
const BODY: &str = r#"{"type":"url_verification","challenge":"c","token":"x"}"#;
/// The time within which a rotation has to take effect.
const ROTATED_WITHIN: Duration = Duration::from_mins(5);

/// Sends a request that was signed with this secret.
async fn send(world: &World, webhook: &Webhook, secret: &str) -> Response {
    let timestamp = world.time.now().as_secs().to_string();
    let secret = SecretString::from(secret);
    let signature = sign(&secret, &timestamp, BODY.as_bytes()).unwrap();
    let request = Request {
        path: "/slack/events",
        timestamp: Some(&timestamp),
        signature: Some(&signature),
        body: BODY.as_bytes(),
    };
    webhook.handle(request).await
}

async fn status(world: &World, webhook: &Webhook, secret: &str) -> u16 {
    send(world, webhook, secret).await.status
}

/// Stores another signing secret now.
fn rotate(world: &World, secret: &str) {
    let now = world.time.now().as_millis();
    world.aws.secrets().put(SIGNING_SECRET, secret, now);
}

#[tokio::test]
async fn the_secret_is_read_at_the_first_request_and_then_once_in_some_minutes() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    assert_eq!(world.calls.take(), [""; 0]);
    for _ in 0..20 {
        assert_eq!(status(&world, &webhook, SECRET).await, 200);
    }
    assert_eq!(world.calls.take(), [READ]);
    world.time.pass(KEEP);
    for _ in 0..20 {
        assert_eq!(status(&world, &webhook, SECRET).await, 200);
    }
    assert_eq!(world.calls.take(), [READ]);
}

#[tokio::test]
async fn a_request_that_cannot_be_slacks_does_not_have_the_secret_read() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    let request = Request {
        path: "/slack/events",
        timestamp: Some("1000000000"),
        signature: Some("v0=00"),
        body: BODY.as_bytes(),
    };
    assert_eq!(webhook.handle(request).await.status, 401);
    assert_eq!(world.calls.take(), [""; 0]);
}

#[tokio::test]
async fn a_rotation_takes_effect_at_the_first_request_with_the_new_secret() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    assert_eq!(status(&world, &webhook, SECRET).await, 200);
    world.time.pass(MIN_INTERVAL);
    rotate(&world, NEW_SECRET);
    assert_eq!(status(&world, &webhook, NEW_SECRET).await, 200);
    // The new version and the previous one.
    assert_eq!(world.calls.take(), [READ; 3]);
}

#[tokio::test]
async fn a_rotation_takes_effect_within_5_min_whatever_unsigned_requests_come() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    assert_eq!(status(&world, &webhook, SECRET).await, 200);
    rotate(&world, NEW_SECRET);
    let end = world.time.now() + ROTATED_WITHIN;
    while world.time.now() < end {
        world.time.pass(Duration::from_secs(1));
        assert_eq!(status(&world, &webhook, "stolen").await, 401);
    }
    assert_eq!(status(&world, &webhook, NEW_SECRET).await, 200);
}

#[tokio::test]
async fn a_rotation_takes_effect_within_5_min_where_only_the_old_secret_is_used() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    assert_eq!(status(&world, &webhook, SECRET).await, 200);
    rotate(&world, NEW_SECRET);
    world.time.pass(ROTATED_WITHIN);
    assert_eq!(status(&world, &webhook, SECRET).await, 200);
    world.calls.take();
    // Known already.
    assert_eq!(status(&world, &webhook, NEW_SECRET).await, 200);
    assert_eq!(world.calls.take(), [""; 0]);
}

#[tokio::test]
async fn the_previous_secret_is_accepted_for_an_hour_and_then_refused() {
    let world = World::new().await;
    rotate(&world, NEW_SECRET);
    let environments = [world.webhook_that_reads_its_secret(), world.webhook()];
    for webhook in &environments {
        assert_eq!(status(&world, webhook, SECRET).await, 200);
        assert_eq!(status(&world, webhook, NEW_SECRET).await, 200);
        assert_eq!(status(&world, webhook, "another").await, 401);
    }
    let last = Duration::from_secs(1);
    world.time.pass(ACCEPT_PREVIOUS.saturating_sub(last));
    assert_eq!(status(&world, &environments[0], SECRET).await, 200);
    world.time.pass(last);
    for webhook in &environments {
        assert_eq!(status(&world, webhook, SECRET).await, 401);
        assert_eq!(status(&world, webhook, NEW_SECRET).await, 200);
    }
}

#[tokio::test]
async fn the_secret_before_the_previous_one_is_refused() {
    let world = World::new().await;
    rotate(&world, NEW_SECRET);
    rotate(&world, "the newest");
    let webhook = world.webhook_that_reads_its_secret();
    assert_eq!(status(&world, &webhook, "the newest").await, 200);
    assert_eq!(status(&world, &webhook, NEW_SECRET).await, 200);
    assert_eq!(status(&world, &webhook, SECRET).await, 401);
}

#[tokio::test]
async fn unsigned_requests_have_the_secret_read_once_in_an_interval() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    assert_eq!(status(&world, &webhook, SECRET).await, 200);
    world.time.pass(MIN_INTERVAL);
    world.calls.take();
    for _ in 0..100 {
        assert_eq!(status(&world, &webhook, "guessed").await, 401);
    }
    assert_eq!(world.calls.take(), [READ]);
    world.time.pass(MIN_INTERVAL);
    assert_eq!(status(&world, &webhook, "guessed").await, 401);
    assert_eq!(world.calls.take(), [READ]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_a_503_until_it_can() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    world.calls.fail_at(0);
    let refused = send(&world, &webhook, SECRET).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.body.unwrap()["error"], "SECRET_UNAVAILABLE");
    assert_eq!(status(&world, &webhook, SECRET).await, 200);
}

#[tokio::test]
async fn an_empty_secret_lets_nobody_in() {
    let world = World::new().await;
    rotate(&world, " \n");
    let webhook = world.webhook_that_reads_its_secret();
    for secret in ["", " \n", SECRET] {
        assert_eq!(status(&world, &webhook, secret).await, 503, "{secret:?}");
    }
}

#[tokio::test]
async fn a_newline_at_the_end_of_a_stored_file_is_no_part_of_the_secret() {
    let world = World::new().await;
    rotate(&world, &format!("{NEW_SECRET}\n"));
    let webhook = world.webhook_that_reads_its_secret();
    assert_eq!(status(&world, &webhook, NEW_SECRET).await, 200);
}

/// Has Secrets Manager fail, at once or after a minute.
struct Outage {
    hangs: bool,
}

#[async_trait]
impl Hook for Outage {
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        if call.service != Service::SecretsManager {
            return None;
        }
        if self.hangs {
            sleep(Duration::from_mins(1)).await;
        }
        Some((FailurePoint::Before, Failure::Internal))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_used_on_while_secrets_manager_fails() {
    for hangs in [false, true] {
        let world = World::new().await;
        let webhook = world.webhook_that_reads_its_secret();
        assert_eq!(status(&world, &webhook, SECRET).await, 200);
        world.aws.add_hook(Outage { hangs });
        world.time.pass(Duration::from_hours(10));
        world.calls.take();
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(status(&world, &webhook, SECRET).await, 200);
            assert_eq!(status(&world, &webhook, "guessed").await, 401);
        }
        // One read for all, which delays one request.
        assert_eq!(world.calls.take(), [READ]);
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn slack_is_answered_within_3_s_although_the_secret_and_all_else_is_slow() {
    /// Has every call take a while.
    struct Slow;
    #[async_trait]
    impl Hook for Slow {
        async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
            let slow = call.service == Service::SecretsManager;
            let secs = if slow { 1.4 } else { 60.0 };
            sleep(Duration::from_secs_f64(secs)).await;
            None
        }
    }
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    world.aws.add_hook(Slow);
    let body = super::mention("C1", "<@U0BOT> x", "Ev1", None).to_string();
    let timestamp = world.time.now().as_secs().to_string();
    let signature = sign(&SecretString::from(SECRET), &timestamp, body.as_bytes()).unwrap();
    let began = Instant::now();
    let request = Request {
        path: "/slack/events",
        timestamp: Some(&timestamp),
        signature: Some(&signature),
        body: body.as_bytes(),
    };
    let response = webhook.handle(request).await;
    assert_eq!(response.body.unwrap()["error"], "SLACK_DEADLINE");
    assert!(began.elapsed() < Duration::from_secs(3));
}
