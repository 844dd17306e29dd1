//! The fake: its state, and a request's way to its service and back.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

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
use http::{Method, Request, Response, header::CONTENT_TYPE};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{
    calls::{Call, Calls, Failure, FailurePoint, Failures, Hook, Service},
    common::{Clock, ENDPOINT, ServiceError, ServiceResult, lock},
    dynamo::{Tables, transaction_conflict},
    gateway::Connections,
    metering::Access,
    permission::Permission,
    queue::{Queue, Queues},
    secrets::Secrets,
    sqs, sts,
    template::Template,
};

/// The error of a connection that broke before there was a response.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection was made to break")]
pub struct ConnectionBroken;

/// DynamoDB, SQS, API Gateway's management API, Secrets Manager and STS. Clones share their state.
#[derive(Clone)]
pub struct FakeAws {
    shared: Arc<Shared>,
    observed: bool,
    caller: Option<&'static str>,
}

struct Shared {
    tables: Tables,
    queues: Queues,
    connections: Connections,
    secrets: Secrets,
    calls: Calls,
    failures: Failures,
    hooks: Mutex<Vec<Arc<dyn Hook>>>,
    metered: AtomicBool,
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl FakeAws {
    /// Creates the template's tables and queues, empty, and neither connections nor secrets.
    ///
    /// # Panics
    /// If DynamoDB would not create one of the tables.
    pub fn new(template: &Template, clock: Clock) -> Self {
        let shared = Shared {
            tables: Tables::new(&template.tables),
            queues: Queues::new(&template.queues, clock),
            connections: Connections::default(),
            secrets: Secrets::default(),
            calls: Calls::default(),
            failures: Failures::default(),
            hooks: Mutex::default(),
            metered: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            observed: true,
            caller: None,
        }
    }

    /// Returns the same fake, calls to which are not recorded or metered, do not fail and have no hooks:
    /// for what a test sets up through production code.
    #[must_use]
    pub fn unobserved(&self) -> Self {
        Self {
            observed: false,
            ..self.clone()
        }
    }

    /// Returns the same fake, calls to which name this caller, and the permissions that they need.
    #[must_use]
    pub fn labelled(&self, caller: &'static str) -> Self {
        Self {
            caller: Some(caller),
            ..self.clone()
        }
    }

    /// Returns the tables.
    pub fn tables(&self) -> &Tables {
        &self.shared.tables
    }

    /// Returns a queue by its logical id.
    ///
    /// # Panics
    /// If the template has no such queue.
    pub fn queue(&self, id: &str) -> Queue<'_> {
        let queue = self.shared.queues.get(id);
        queue.unwrap_or_else(|| panic!("the template has no queue {id}"))
    }

    /// Returns the time at which the next message of any queue can be received, in Unix milliseconds: in
    /// the past, if one waits.
    pub fn next_due(&self) -> Option<u64> {
        let queues = self.shared.queues.all();
        queues.filter_map(|queue| queue.next_due()).min()
    }

    /// Returns the connections of the WebSocket API.
    pub fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// Returns the secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.shared.secrets
    }

    /// Returns the calls that were made.
    pub fn calls(&self) -> &Calls {
        &self.shared.calls
    }

    /// Returns the failures that are to come.
    pub fn planned_failures(&self) -> &Failures {
        &self.shared.failures
    }

    /// Adds a hook around every call. The first hook that fails a call decides how.
    pub fn add_hook(&self, hook: impl Hook + 'static) {
        lock(&self.shared.hooks).push(Arc::new(hook));
    }

    /// Sets whether [`Call`]s list the partitions that they access, which takes two more reads for each item
    /// that is written. It is off at first.
    pub fn set_request_unit_metering(&self, on: bool) {
        self.shared.metered.store(on, Relaxed);
    }

    /// Returns the configuration that production makes its clients from. Retries and timeouts are off.
    pub fn sdk_config(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        let credentials = Credentials::from_keys("fake", "fake", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(ENDPOINT)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build()
    }

    /// Answers a request from an SDK within this process, or from another process over HTTP.
    ///
    /// # Panics
    /// Never by what is asked.
    pub async fn handle(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, ConnectionBroken> {
        let Some((service, operation, connection)) = parse_target(&request) else {
            let code = "UnknownOperationException";
            return Ok(http_response(Err(ServiceError::new(
                400,
                code,
                "no such service",
            ))));
        };
        let shared = &*self.shared;
        let body = request.into_body();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        let accesses = match service {
            Service::DynamoDb => Access::parse_request(&operation, &json),
            Service::Sqs | Service::ApiGateway | Service::SecretsManager | Service::Sts => {
                Vec::new()
            }
        };
        let queue = || shared.queues.by_url(json["QueueUrl"].as_str()?);
        let resources = match service {
            Service::DynamoDb => Access::resources(&accesses),
            Service::Sqs => queue().into_iter().map(|it| it.spec().id.clone()).collect(),
            Service::ApiGateway => vec![connection.clone()],
            Service::SecretsManager => json["SecretId"]
                .as_str()
                .map(ToOwned::to_owned)
                .into_iter()
                .collect(),
            Service::Sts => Vec::new(),
        };
        let permissions = match service {
            _ if self.caller.is_none() => Vec::new(),
            // GetCallerIdentity needs none.
            Service::Sts => Vec::new(),
            Service::DynamoDb => Permission::of_accesses(&operation, &accesses),
            Service::Sqs => {
                let permission = |queue: &String| Permission::of_queue(&operation, queue);
                resources.iter().map(permission).collect()
            }
            Service::ApiGateway => vec![Permission::of_connection(&operation)],
            Service::SecretsManager => {
                let permission = |secret: &String| Permission::of_secret(&operation, secret);
                resources.iter().map(permission).collect()
            }
        };
        let mut call = Call {
            service,
            operation,
            request_bytes: body.len(),
            error: None,
            partition_accesses: Vec::new(),
            message_ids: Vec::new(),
            fifo: false,
            fair: false,
            caller: self.caller,
            permissions,
            resources,
            items: accesses.len(),
        };
        let failure = self.take_failure(&call).await;
        let mut answer = match (failure, service) {
            (Some((FailurePoint::Before, _) | (_, Failure::TransactionConflict(_))), _) => {
                Ok(Value::Null)
            }
            (_, Service::DynamoDb) => {
                let metered = self.observed && shared.metered.load(Relaxed);
                let (answer, partitions) =
                    shared
                        .tables
                        .call(&call.operation, &json, &accesses, metered);
                call.partition_accesses = partitions;
                answer
            }
            (_, Service::Sqs) => sqs::call(&shared.queues, &json, &mut call),
            (_, Service::ApiGateway) => {
                shared.connections.call(&call.operation, &connection, &body)
            }
            (_, Service::SecretsManager) => shared.secrets.call(&call.operation, &json),
            (_, Service::Sts) => sts::call(&call.operation),
        };
        if let Some((_, failure)) = failure {
            answer = Err(injected_error(failure, &call));
        }
        call.error = answer.as_ref().err().map(|it| it.code.to_owned());
        if self.observed {
            self.calls().push(&call);
            for hook in self.hooks() {
                hook.after_call(&call).await;
            }
        }
        match failure {
            Some((_, Failure::Connection)) => Err(ConnectionBroken),
            _ if service == Service::Sts => Ok(sts::http_response(answer)),
            _ => Ok(http_response(answer)),
        }
    }

    /// Asks the hooks, and then takes an armed failure: how a call is to fail, if it is.
    async fn take_failure(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        if !self.observed {
            return None;
        }
        for hook in self.hooks() {
            if let Some(failure) = hook.before_call(call).await {
                return Some(failure);
            }
        }
        self.planned_failures().count_and_take(call)
    }

    fn hooks(&self) -> Vec<Arc<dyn Hook>> {
        lock(&self.shared.hooks).clone()
    }
}

/// The service, the operation and the connection that a request is for. The JSON services are named in a
/// header, STS is known by its form, and the management API by its path.
fn parse_target(request: &Request<Vec<u8>>) -> Option<(Service, String, String)> {
    if let Some(header) = request.headers().get("x-amz-target") {
        let (service, operation) = header.to_str().ok()?.split_once('.')?;
        let service = match service {
            "DynamoDB_20120810" => Service::DynamoDb,
            "AmazonSQS" => Service::Sqs,
            "secretsmanager" => Service::SecretsManager,
            _ => return None,
        };
        return Some((service, operation.to_owned(), String::new()));
    }
    if let Some(operation) = sts::operation(request) {
        return Some((Service::Sts, operation, String::new()));
    }
    let operation = match *request.method() {
        Method::POST => "PostToConnection",
        Method::DELETE => "DeleteConnection",
        _ => return None,
    };
    let path = percent_decode_str(request.uri().path())
        .decode_utf8()
        .ok()?;
    let (_, connection) = path.split_once("/@connections/")?;
    let (operation, connection) = (operation.to_owned(), connection.to_owned());
    Some((Service::ApiGateway, operation, connection))
}

/// The error that a service answers with when it fails on purpose.
fn injected_error(failure: Failure, call: &Call) -> ServiceError {
    let code = match (failure, call.service) {
        (Failure::TransactionConflict(part), _) => {
            return transaction_conflict(&call.operation, part, call.items);
        }
        (_, Service::DynamoDb) => "InternalServerError",
        (_, Service::Sqs | Service::Sts) => "InternalFailure",
        (_, Service::ApiGateway) => "InternalServerErrorException",
        (_, Service::SecretsManager) => "InternalServiceError",
    };
    ServiceError::new(500, code, "made to fail")
}

fn http_response(answer: ServiceResult) -> Response<Vec<u8>> {
    let response = Response::builder().header(CONTENT_TYPE, "application/x-amz-json-1.0");
    let (response, body) = match answer {
        Ok(body) => (response, body),
        // API Gateway's SDK reads the code in the first header, SQS's in the second, DynamoDB's in the body.
        Err(ServiceError { status, code, body }) => {
            let response = response.status(status).header("x-amzn-errortype", code);
            let query_error = format!("{code};Sender");
            (response.header("x-amzn-query-error", query_error), body)
        }
    };
    let response = response.body(body.to_string().into_bytes());
    response.expect("status and headers are the fake's own")
}

/// The SDK's connection to the fake.
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
