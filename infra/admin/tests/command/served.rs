//! A fake AWS over HTTP, and `bematic` as a program that administers it as its local stack.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bematic::audit::{AuditFilter, AuditRecord};
use bematic::ports::AuditLog as _;
use bematic_aws::store::PeopleStore;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use fake_aws::{FakeAws, Template};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The queues of the template, by the names that a stack's file has for them.
const QUEUES: [(&str, &str); 6] = [
    ("dispatch", "DispatchQueue"),
    ("dispatch-dead-letters", "DispatchDeadLetters"),
    ("notifications", "NotificationsQueue"),
    ("notifications-dead-letters", "NotificationsDeadLetters"),
    ("batch", "BatchQueue"),
    ("batch-dead-letters", "BatchDeadLetters"),
];

/// A local stack for the program.
pub(crate) struct Served {
    pub(crate) aws: FakeAws,
    audit_log: PeopleStore,
    begun: Timestamp,
    folder: TempDir,
}

/// What the program printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) succeeded: bool,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Served {
    /// Serves an empty stack, whose file has these fields, too.
    pub(crate) async fn start(more: &Value) -> Self {
        let template = Template::parse(include_str!("../../../../template.yaml")).unwrap();
        let aws = FakeAws::new(&template, Arc::new(|| SystemClock.now().as_millis()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(aws.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        let queues = QUEUES.map(|(name, id)| (name.to_owned(), Value::from(aws.queue(id).url())));
        let mut file = json!({
            "awsEndpoint": format!("http://{address}"),
            "region": "us-east-1",
            "awsAccessKeyId": "key",
            "awsSecretAccessKey": "secret",
            "tables": { "tasks": "TasksTable", "agents": "AgentsTable", "keys": "KeysTable" },
            "queues": serde_json::Map::from_iter(queues),
        });
        let more = more.as_object().unwrap().clone();
        file.as_object_mut().unwrap().extend(more);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("stack.json"), file.to_string()).unwrap();
        let client = aws_sdk_dynamodb::Client::new(&aws.unobserved().sdk_config());
        Self {
            aws,
            audit_log: PeopleStore::new(client, "AgentsTable".to_owned()),
            begun: SystemClock.now(),
            folder,
        }
    }

    /// Runs the program with these arguments. A failed call is not repeated.
    pub(crate) async fn run(&self, arguments: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bematic"));
        command
            .args(arguments.split_whitespace())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("BEMATIC_STACK", self.stack_file());
        let ran = tokio::task::spawn_blocking(move || command.output());
        let Output {
            status,
            stdout,
            stderr,
        } = ran.await.unwrap().unwrap();
        Ended {
            succeeded: status.success(),
            output: String::from_utf8(stdout).unwrap(),
            errors: String::from_utf8(stderr).unwrap(),
        }
    }

    fn stack_file(&self) -> PathBuf {
        self.folder.path().join("stack.json")
    }

    /// Returns the audit log, newest first.
    pub(crate) async fn audit_log(&self) -> Vec<AuditRecord> {
        let filter = AuditFilter {
            user_id: None,
            since: self.begun,
            until: SystemClock.now(),
        };
        self.audit_log.newest(&filter, 1000).await.unwrap()
    }

    /// Returns the items of the audit log as they are stored.
    pub(crate) fn audit_items(&self) -> Vec<Value> {
        let items = self.aws.tables().items("AgentsTable").into_iter();
        let items = items.map(|item| serde_dynamo::from_item(item).unwrap());
        let is_audit = |item: &Value| item["pk"].as_str().unwrap().starts_with("AUDIT#");
        items.filter(is_audit).collect()
    }
}

async fn answer(State(aws): State<FakeAws>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    match aws.handle(Request::from_parts(parts, body.to_vec())).await {
        Ok(response) => response.map(Body::from),
        Err(broken) => (StatusCode::BAD_GATEWAY, broken.to_string()).into_response(),
    }
}
