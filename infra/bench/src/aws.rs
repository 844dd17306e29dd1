//! AWS and Slack for the functions: `fake-aws` and the local Slack, and an HTTP server before them for
//! the real binaries, which keeps what was called, and from when to when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use bematic::access::{CheckedMembership, Membership};
use bematic::ports::Memberships as _;
use bematic_aws::store::PeopleStore;
use bematic_protocol::time::Timestamp;
use fake_aws::{FakeAws, Hook};
use local_slack::{Channel, Clock, Config, Slack, User};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::common::lock;
use crate::invocation::{Call, Service};

pub(crate) const MANAGEMENT_PATH: &str = "/websocket";
pub(crate) const SLACK_API_PATH: &str = "/slack/api";
pub(crate) const SIGNING_SECRET: &str = "bench-signing-secret";
pub(crate) const SIGNING_SECRET_ARN: &str =
    "arn:aws:secretsmanager:us-east-1:0:secret:signing-secret";
pub(crate) const BOT_TOKEN_ARN: &str = "arn:aws:secretsmanager:us-east-1:0:secret:bot-token";
const BOT_TOKEN: &str = "xoxb-bench";
pub(crate) const SLACK_USER_ID: &str = "U0BENCH";
/// The table of agents and people, by its logical id in the template.
pub(crate) const AGENTS_TABLE: &str = "AgentsTable";

pub(crate) fn build_slack(clock: Clock) -> Arc<Slack> {
    Slack::new(Config {
        users: vec![User {
            id: SLACK_USER_ID.to_owned(),
            name: "bench".to_owned(),
            real_name: "The bench".to_owned(),
            ..User::default()
        }],
        max_messages: usize::MAX,
        clock,
        ..Config::new(SIGNING_SECRET, BOT_TOKEN)
    })
}

/// Stores the secrets, long ago: nothing is rotated.
pub(crate) fn store_secrets(aws: &FakeAws) {
    for (arn, secret) in [
        (SIGNING_SECRET_ARN, SIGNING_SECRET),
        (BOT_TOKEN_ARN, BOT_TOKEN),
    ] {
        aws.secrets().put(arn, secret, 0);
    }
}

/// Stores that the person who gives the commands is a full member, as the first command of a day does:
/// the others, which are measured, ask Slack nothing.
pub(crate) async fn store_membership(aws: &FakeAws, now: Timestamp) -> Result<()> {
    let client = aws_sdk_dynamodb::Client::new(&aws.unobserved().sdk_config());
    let checked = CheckedMembership {
        user_id: SLACK_USER_ID.parse()?,
        membership: Membership::Full,
        checked_at: now,
    };
    let store = PeopleStore::new(client, AGENTS_TABLE.to_owned());
    Ok(store.put(&checked).await?)
}

/// Adds a channel that the bot is in.
pub(crate) fn add_slack_channel(slack: &Slack, id: &str) {
    slack.add_channel(Channel {
        id: id.to_owned(),
        name: id.to_lowercase(),
        topic: String::new(),
        has_bot: true,
    });
}

/// Serves on a free local port until the handle is dropped.
pub(crate) async fn serve_router(router: Router) -> Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.context("no local port is free")?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async {
        axum::serve(listener, router).await.ok();
    });
    Ok((address, AbortOnDropHandle::new(serving)))
}

tokio::task_local! {
    static ARRIVED: Instant;
}

type SharedCalls = Arc<Mutex<Vec<Call>>>;

/// Keeps the calls to AWS that come over HTTP.
struct AwsCallRecorder(SharedCalls);

#[async_trait]
impl Hook for AwsCallRecorder {
    async fn after_call(&self, call: &fake_aws::Call) {
        if let Ok(arrived) = ARRIVED.try_with(|arrived| *arrived) {
            lock(&self.0).push(Call::from_fake_aws(call, arrived));
        }
    }
}

/// The HTTP server of AWS and Slack.
pub(crate) struct FakeAwsServer {
    pub(crate) url: String,
    pub(crate) slack: Arc<Slack>,
    calls: SharedCalls,
    _serving: AbortOnDropHandle<()>,
}

impl FakeAwsServer {
    pub(crate) async fn start(aws: FakeAws) -> Result<Self> {
        let (calls, slack) = (SharedCalls::default(), build_slack(Clock::system()));
        aws.add_hook(AwsCallRecorder(calls.clone()));
        let keep_call = from_fn_with_state(calls.clone(), record_slack_call);
        let router = Router::new()
            .fallback(answer_aws_request)
            .with_state(aws)
            .nest("/slack", local_slack::router(&slack).layer(keep_call));
        let (address, serving) = serve_router(router).await?;
        Ok(Self {
            url: format!("http://{address}"),
            slack,
            calls,
            _serving: serving,
        })
    }

    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut lock(&self.calls))
    }
}

async fn record_slack_call(
    State(calls): State<SharedCalls>,
    request: Request,
    next: Next,
) -> Response {
    let arrived = Instant::now();
    let path = request.uri().path();
    let method = path.rsplit('/').next().unwrap_or_default().to_owned();
    let response = next.run(request).await;
    lock(&calls).push(Call::new(Service::Slack, &method, arrived));
    response
}

async fn answer_aws_request(State(aws): State<FakeAws>, request: Request) -> Response {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    // What the floor exchanges bytes with is no call.
    if parts.uri.path() == "/exchange" {
        return "{}".into_response();
    }
    let request = Request::from_parts(parts, body.to_vec());
    match ARRIVED.scope(arrived, aws.handle(request)).await {
        Ok(response) => response.map(Body::from),
        Err(broken) => (StatusCode::BAD_GATEWAY, broken.to_string()).into_response(),
    }
}
