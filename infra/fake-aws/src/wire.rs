//! A request on its way to its service, and the answer on its way back.

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

use crate::{
    access::Access,
    account::{ENDPOINT, REGION},
    calls::{Action, Call, Failure, Proceed, Service, When},
    dynamo,
    fake::FakeAws,
    management,
    reply::Reply,
    sqs,
    units::Units,
};

/// The connection broke before there was a response.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection was made to break")]
pub struct ConnectionBroken;

/// A request that is for one of the services.
struct Request {
    service: Service,
    operation: String,
    /// The connection that a management call is for.
    connection: String,
    json: Value,
    body: Vec<u8>,
}

impl Request {
    /// The JSON services are named in a header, the management API is known by its path.
    fn of(request: http::Request<Vec<u8>>) -> Option<Self> {
        let header = request.headers().get("x-amz-target");
        let header = header.and_then(|it| it.to_str().ok());
        if let Some((service, operation)) = header.and_then(|it| it.split_once('.')) {
            let service = match service {
                "DynamoDB_20120810" => Service::DynamoDb,
                "AmazonSQS" => Service::Sqs,
                _ => return None,
            };
            let (operation, connection) = (operation.to_owned(), String::new());
            let body = request.into_body();
            let json = serde_json::from_slice(&body).unwrap_or_default();
            return Some(Self {
                service,
                operation,
                connection,
                json,
                body,
            });
        }
        let operation = match request.method().as_str() {
            "POST" => "PostToConnection",
            "DELETE" => "DeleteConnection",
            "GET" => "GetConnection",
            _ => return None,
        };
        let path = percent_encoding::percent_decode_str(request.uri().path());
        let path = path.decode_utf8().ok()?;
        let (_, connection) = path.split_once("/@connections/")?;
        Some(Self {
            service: Service::ApiGateway,
            operation: operation.to_owned(),
            connection: connection.to_owned(),
            json: Value::Null,
            body: request.into_body(),
        })
    }

    fn accesses(&self) -> Vec<Access<'_>> {
        match self.service {
            Service::DynamoDb => Access::of(&self.operation, &self.json),
            Service::Sqs | Service::ApiGateway => Vec::new(),
        }
    }
}

impl FakeAws {
    /// What production makes its clients from. Retries and timeouts are off.
    pub fn sdk_config(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        let credentials = Credentials::from_keys("fake", "fake", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(ENDPOINT)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build()
    }

    /// Answers a request, however it came here: from an SDK within this process, or from another
    /// process over HTTP.
    ///
    /// # Panics
    /// Never by what is asked.
    pub async fn handle(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, ConnectionBroken> {
        let Some(request) = Request::of(request) else {
            let body = r#"{"__type":"UnknownOperationException"}"#.to_owned();
            return Ok(Reply::new(400, None, body).response("application/json"));
        };
        let accesses = request.accesses();
        let mut call = self.describe(&request, &accesses);
        let proceed = if self.observed {
            self.before(&call).await
        } else {
            Proceed::Go
        };
        let mut reply = match proceed {
            Proceed::Fail(When::Before, _)
            | Proceed::Fail(_, Failure::Throttled | Failure::TransactionConflict(_)) => {
                Reply::default()
            }
            Proceed::Go | Proceed::Fail(When::After, _) => self.effect(&request, &accesses),
        };
        call.units = reply.units;
        call.touched = std::mem::take(&mut reply.touched);
        call.message_ids = std::mem::take(&mut reply.message_ids);
        if let Proceed::Fail(_, failure) = proceed {
            call.failure = Some(failure);
            reply = match request.service {
                Service::DynamoDb => dynamo::failed(failure, &call.operation, call.items),
                Service::Sqs => sqs::failed(failure),
                Service::ApiGateway => management::failed(failure),
            };
        }
        call.error = reply.error.take();
        call.response_bytes = reply.body.len();
        if self.observed {
            self.calls().push(&call);
            for hook in self.hooks() {
                hook.after(&call).await;
            }
        }
        match (call.failure, request.service) {
            (Some(Failure::Connection), _) => Err(ConnectionBroken),
            (_, Service::ApiGateway) => Ok(reply.response("application/json")),
            _ => Ok(reply.response("application/x-amz-json-1.0")),
        }
    }

    async fn before(&self, call: &Call) -> Proceed {
        for hook in self.hooks() {
            let proceed = hook.before(call).await;
            if proceed != Proceed::Go {
                return proceed;
            }
        }
        self.failures().next(call)
    }

    fn effect(&self, request: &Request, accesses: &[Access<'_>]) -> Reply {
        let (now, operation) = (self.now(), &request.operation);
        match request.service {
            Service::DynamoDb => {
                let context = (now, self.is_metered());
                self.dynamo()
                    .call(operation, &request.json, accesses, context)
            }
            Service::Sqs => self.sqs().call(operation, &request.json, now),
            Service::ApiGateway => {
                let (id, body) = (&request.connection, &request.body);
                self.gateway().call(operation, id, body)
            }
        }
    }

    fn describe(&self, request: &Request, accesses: &[Access<'_>]) -> Call {
        let entries = request.json["Entries"].as_array();
        let entries = || entries.into_iter().flatten();
        let spec = self.sqs().spec(&request.json).cloned();
        let fifo = spec.as_ref().is_some_and(|spec| spec.fifo);
        let resource = match request.service {
            Service::DynamoDb => None,
            Service::Sqs => spec.map(|spec| spec.id),
            Service::ApiGateway => Some(request.connection.clone()),
        };
        // A batch of SQS needs the right to its single operation.
        let name = request.operation.trim_end_matches("Batch").to_owned();
        let own = resource.map(|resource| Action { name, resource });
        let mut actions = Vec::new();
        for action in accesses.iter().map(Access::action).chain(own) {
            if !actions.contains(&action) {
                actions.push(action);
            }
        }
        let mut messages = entries().chain([&request.json]);
        Call {
            service: request.service,
            operation: request.operation.clone(),
            actions,
            items: accesses.len().max(entries().count()).max(1),
            at: self.now(),
            request_bytes: request.body.len(),
            response_bytes: 0,
            error: None,
            failure: None,
            units: Units::default(),
            touched: Vec::new(),
            message_ids: Vec::new(),
            fair: !fifo && messages.any(|it| it["MessageGroupId"].is_string()),
            fifo,
        }
    }
}

/// The SDK's way to the fake.
#[derive(Debug)]
struct Connector(FakeAws);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let aws = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x();
            let request = request.map_err(|error| ConnectorError::user(error.into()))?;
            let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
            let response = aws.handle(request).await;
            let response = response.map_err(|error| ConnectorError::io(error.into()))?;
            let response = HttpResponse::try_from(response.map(SdkBody::from));
            response.map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
