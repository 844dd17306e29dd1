//! A request on its way to its service, and the answer on its way back.

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::{
    ConnectionBroken, FakeAws,
    access::Access,
    calls::{Action, Call, Failure, Proceed, Service, When},
    dynamo, management, sqs,
    units::{Touch, Units},
};

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

/// A service's answer, and what is to be told of it.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
    pub(crate) body: String,
    pub(crate) header: Option<(&'static str, String)>,
    pub(crate) units: Units,
    pub(crate) touched: Vec<Touch>,
    pub(crate) message_ids: Vec<String>,
}

impl Reply {
    pub(crate) fn new(status: u16, error: Option<&str>, body: String) -> Self {
        let error = error.map(ToOwned::to_owned);
        Self {
            status,
            error,
            body,
            ..Self::default()
        }
    }

    pub(crate) fn header(self, name: &'static str, value: String) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    fn response(self, content_type: &str) -> http::Response<Vec<u8>> {
        let response = http::Response::builder().status(self.status);
        let mut response = response.header(CONTENT_TYPE, content_type);
        if let Some((name, value)) = self.header {
            response = response.header(name, value);
        }
        let response = response.body(self.body.into_bytes());
        response.expect("status and headers are the fake's own")
    }
}

impl FakeAws {
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
pub(crate) struct Connector(pub(crate) FakeAws);

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
