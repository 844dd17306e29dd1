//! AWS and Slack within this process: what the functions' clients call is answered at once by the
//! bench's tables and queues, and takes as long in virtual time as `prices.json` says.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use bematic::slack::Message;
use bematic::slack::api::{Destination, SlackApi, SlackError};
use bematic_protocol::ids::{ChannelId, MessageTs, Subject, UserId};
use bematic_protocol::time::Timestamp;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use super::meter::{CAUSE, Cause, Meter};
use super::time::VirtualClock;
use crate::aws::answer::{Answered, Asked};
use crate::aws::{Call, Posted, Service, State, lock};
use crate::dynamo::units::Units;
use crate::prices::Prices;
use crate::template::Template;

/// Where the clients think that AWS is.
pub(super) const URL: &str = "http://aws.invalid";

/// What there is, shared by everything in the simulation.
pub(super) struct Cloud {
    pub(super) clock: VirtualClock,
    begun: Instant,
    state: Mutex<State>,
    meter: Mutex<Meter>,
    /// What the messages that wait in queues were sent for.
    sent_for: Mutex<HashMap<String, Cause>>,
    posted: mpsc::UnboundedSender<Posted>,
    /// A message was sent to a queue.
    pub(super) sent: Notify,
    shown: Mutex<u64>,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cloud")
    }
}

impl Cloud {
    /// Empty; what is posted to connections goes to `posted`.
    pub(super) fn new(
        template: &Template,
        prices: Prices,
        posted: mpsc::UnboundedSender<Posted>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            clock: VirtualClock::start(),
            begun: Instant::now(),
            state: Mutex::new(State::new(template)?),
            meter: Mutex::new(Meter::new(prices)),
            sent_for: Mutex::default(),
            posted,
            sent: Notify::new(),
            shown: Mutex::default(),
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn meter(&self) -> MutexGuard<'_, Meter> {
        lock(&self.meter)
    }

    /// What a message of a queue was sent for.
    pub(super) fn sent_for(&self, message: &str) -> Cause {
        let cause = lock(&self.sent_for).remove(message);
        cause.unwrap_or(Cause::Sweep)
    }

    /// A message goes back to its queue.
    pub(super) fn given_back(&self, message: &str, cause: Cause) {
        lock(&self.sent_for).insert(message.to_owned(), cause);
    }

    /// How the functions' clients reach it.
    pub(super) fn config(self: &Arc<Self>) -> SdkConfig {
        let connector = SharedHttpConnector::new(Wire(self.clone()));
        let credentials = Credentials::from_keys("simulated", "simulated", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(URL)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build()
    }

    /// Answers a request after as long as that takes on AWS: it takes effect at the end of it.
    async fn answer(&self, request: &HttpRequest) -> Answered {
        let began = Instant::now();
        let target = request.headers().get("x-amz-target");
        let service = match target.and_then(|target| target.split_once('.')) {
            Some(("AmazonSQS", _)) => Service::Sqs,
            Some(_) => Service::DynamoDb,
            None => Service::ApiGateway,
        };
        let cause = CAUSE.try_with(|cause| *cause).ok();
        if cause.is_some() {
            let latency = self.meter().prices.latency(service);
            sleep(latency).await;
        }
        let url = request.uri();
        let path = url.strip_prefix(URL).unwrap_or(url);
        let asked = Asked {
            method: request.method(),
            path: path.split('?').next().unwrap_or_default(),
            target,
            body: request.body().bytes().unwrap_or_default(),
        };
        let (answered, call) = self.state().answer(&asked, Instant::now());
        if let Some(cause) = cause {
            self.note(cause, &Call { began, ..call });
            if service == Service::Sqs {
                self.note_sent(cause, &answered.text);
            }
        }
        match service {
            Service::Sqs => self.sent.notify_waiters(),
            Service::ApiGateway => {
                for posted in self.state().take_posted() {
                    // Nobody listens any more once the simulation is over.
                    self.posted.send(posted).ok();
                }
            }
            Service::DynamoDb | Service::Slack => {}
        }
        answered
    }

    fn note(&self, cause: Cause, call: &Call) {
        self.meter().call(cause, call, self.begun.elapsed());
    }

    fn note_sent(&self, cause: Cause, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let entries = answer["Successful"].as_array().into_iter().flatten();
        let mut sent_for = lock(&self.sent_for);
        for message in entries.chain([&answer]) {
            if let Some(id) = message["MessageId"].as_str() {
                sent_for.insert(id.to_owned(), cause);
            }
        }
    }

    async fn slack(&self, operation: &str) {
        let began = Instant::now();
        let latency = self.meter().prices.latency(Service::Slack);
        sleep(latency).await;
        let call = Call {
            service: Service::Slack,
            operation: operation.to_owned(),
            began,
            ended: Instant::now(),
            units: Units::default(),
            touched: Vec::new(),
            fifo: false,
            fair: false,
            bytes: 0,
        };
        let cause = CAUSE.try_with(|cause| *cause);
        self.note(cause.unwrap_or(Cause::Task), &call);
    }
}

/// The way from the SDK to it.
#[derive(Debug)]
struct Wire(Arc<Cloud>);

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let cloud = self.0.clone();
        HttpConnectorFuture::new(async move { response(cloud.answer(&request).await) })
    }
}

fn response(answered: Answered) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(answered.status);
    let status = status.map_err(|error| ConnectorError::user(error.into()))?;
    let mut response = HttpResponse::new(status, SdkBody::from(answered.text));
    let headers = response.headers_mut();
    headers.insert("content-type", answered.content_type);
    Ok(response)
}

/// Slack takes every message. Its client has sockets of its own, so that it is the port that is
/// answered here: one method is one request.
#[derive(Debug)]
pub(super) struct Slack(pub(super) Arc<Cloud>);

impl Slack {
    fn ts(&self) -> Result<MessageTs, SlackError> {
        let mut shown = lock(&self.0.shown);
        *shown += 1;
        let ts = MessageTs::try_from(format!("1795590000.{:06}", *shown));
        ts.map_err(|error| SlackError::Unavailable {
            method: "chat.postMessage",
            source: error.into(),
        })
    }
}

#[async_trait]
impl SlackApi for Slack {
    async fn post(
        &self,
        _: &Destination,
        _: &Message,
        _: Option<Subject>,
    ) -> Result<MessageTs, SlackError> {
        self.0.slack("chat.postMessage").await;
        self.ts()
    }

    async fn update(&self, _: &ChannelId, _: &MessageTs, _: &Message) -> Result<(), SlackError> {
        self.0.slack("chat.update").await;
        Ok(())
    }

    async fn find_marked(
        &self,
        _: &Destination,
        _: Subject,
        _: Timestamp,
    ) -> Result<Option<MessageTs>, SlackError> {
        self.0.slack("conversations.history").await;
        Ok(None)
    }

    async fn post_ephemeral(
        &self,
        _: &Destination,
        _: &UserId,
        _: &Message,
    ) -> Result<(), SlackError> {
        self.0.slack("chat.postEphemeral").await;
        Ok(())
    }
}
