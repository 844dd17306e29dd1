//! No call lasts for ever: a server that accepts connections and never answers.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and measures real time"
)]

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc, time::Duration};

use aws_config::Region;
use aws_credential_types::Credentials;
use bematic::{
    dead_letter::QueueName,
    secret::{CachedSecret, READ_WITHIN},
    slack::{
        Message,
        api::{Destination, SlackApi as _},
    },
};
use bematic_aws::{
    app::{App, CallTimeLimits},
    config::EnvVars,
    secrets::SecretsManager,
    slack::SlackClient,
};
use bematic_protocol::{
    ids::{RandomIds, TaskId},
    messages::{CloudMessage, Heartbeat, TypeSpelling},
    time::SystemClock,
};
use fake_aws::{FakeAws, Template};
use tokio::{net::TcpListener, time::Instant};

/// Limits in the proportion of the real ones.
const SHORT: CallTimeLimits = CallTimeLimits {
    attempt: Duration::from_millis(200),
    operation: Duration::from_millis(600),
};

/// Starts a server that accepts connections and keeps them open without a word. Returns its address.
async fn silent_server() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    format!("http://{address}")
}

/// Builds the app on the silent server, as functions build it on AWS.
async fn silent_app(limits: CallTimeLimits) -> App {
    let endpoint = silent_server().await;
    let sdk = limits
        .sdk_config()
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .endpoint_url(&endpoint)
        .load()
        .await;
    let url = format!("{endpoint}/stage");
    let names = [
        "TASKS_TABLE",
        "AGENTS_TABLE",
        "DISPATCH_QUEUE_URL",
        "DISPATCH_DEAD_LETTERS_URL",
        "NOTIFICATIONS_QUEUE_URL",
        "NOTIFICATIONS_DEAD_LETTERS_URL",
        "BATCH_QUEUE_URL",
        "BATCH_DEAD_LETTERS_URL",
        "WEBSOCKET_MANAGEMENT_URL",
        "SLACK_BOT_TOKEN_ARN",
    ];
    let variables: HashMap<_, _> = names.map(|name| (name.to_owned(), url.clone())).into();
    let variables: EnvVars = variables.into_iter().collect();
    App::new(variables, &sdk, Arc::new(SystemClock), Arc::new(RandomIds)).unwrap()
}

/// Checks that a call fails within the limit of the operation.
async fn check<T, E>(name: &str, call: impl Future<Output = Result<T, E>>) {
    let began = Instant::now();
    assert!(call.await.is_err(), "{name} succeeded");
    let took = began.elapsed();
    assert!(
        took >= SHORT.attempt,
        "{name} did not wait for the server: {took:?}"
    );
    assert!(
        took < CallTimeLimits::USUAL.operation,
        "{name} took {took:?}"
    );
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_within_its_limit() {
    let app = silent_app(SHORT).await;
    let ports = app.ports();
    let task = "0198c0de-0000-7000-8000-000000000001"
        .parse::<TaskId>()
        .unwrap();
    check("DynamoDB", ports.tasks.find(task)).await;
    let agent = "box".parse().unwrap();
    check("SQS", ports.request_dispatch(&agent)).await;
    let count = ports.dead_letters.count(QueueName::Dispatch);
    check("a dead-letter queue", count).await;
    let token = app.bot_token().unwrap();
    check("Secrets Manager", token.get()).await;
    let connection = "c".parse().unwrap();
    let message = CloudMessage::HeartbeatPong(Heartbeat { server_time: None });
    let spelling = TypeSpelling::default();
    let post = ports.gateway.send(&connection, spelling, message);
    check("a post", post).await;
    check("a close", ports.gateway.close(&connection)).await;
}

#[tokio::test]
async fn a_call_to_slack_that_is_not_answered_ends_within_its_limit() {
    let address = format!("{}/api", silent_server().await);
    let aws = FakeAws::new(&Template::parse("{}").unwrap(), Arc::new(|| 0));
    aws.secrets().put("bot-token", "xoxb-1", 0);
    let secrets = SecretsManager::new(&aws.sdk_config(), "bot-token".to_owned());
    let token = Arc::new(CachedSecret::new(Arc::new(secrets), Arc::new(SystemClock)));
    let slack = SlackClient::new(&address, token, SHORT.operation).unwrap();
    let to = Destination {
        channel: "C1".parse().unwrap(),
        thread_ts: None,
    };
    check("Slack", slack.post(&to, &Message::plain("x"), None)).await;
}

#[test]
fn the_webhook_answers_slack_before_its_calls_could_last_longer() {
    let answer_within = Duration::from_millis(2500);
    assert!(CallTimeLimits::WEBHOOK.operation < answer_within);
    // The long poll of a dead-letter queue.
    assert!(CallTimeLimits::WEBHOOK.attempt > Duration::from_millis(1200));
    assert!(CallTimeLimits::WEBHOOK.attempt < CallTimeLimits::WEBHOOK.operation);
    assert!(READ_WITHIN + Duration::from_secs(1) <= answer_within);
    assert!(CallTimeLimits::USUAL.attempt <= Duration::from_secs(2));
    assert!(CallTimeLimits::USUAL.operation <= Duration::from_secs(6));
    assert!(SlackClient::CALL_TIMEOUT <= Duration::from_secs(6));
}
