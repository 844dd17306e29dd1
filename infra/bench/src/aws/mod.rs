//! AWS and Slack as the functions see them: one HTTP endpoint on this machine that answers
//! DynamoDB, SQS, API Gateway's management of connections and Slack's Web API, and keeps what was
//! called, when, for how long and at what cost.
//!
//! DynamoDB and the queues have their state ([`crate::dynamo`], [`queues`]); connections take what
//! is posted to them, and Slack takes every message. A request that is wrong, or that is not
//! understood here, is a fault and ends the bench: nothing is made up.

pub(crate) mod answer;
pub mod queues;
mod server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use self::queues::Queues;
use self::server::Server;
use crate::dynamo::units::Units;
use crate::dynamo::{Dynamo, Touch};
use crate::template::Template;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The tables.
    DynamoDb,
    /// The queues.
    Sqs,
    /// What is posted to connections.
    ApiGateway,
    /// Slack, which is no service of AWS, but is called all the same.
    Slack,
}

impl Service {
    /// As it is written in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB",
            Self::Sqs => "SQS",
            Self::ApiGateway => "ApiGateway",
            Self::Slack => "Slack",
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What was called.
    pub service: Service,
    /// Which of its operations.
    pub operation: String,
    /// When the request was here.
    pub began: Instant,
    /// When the answer was ready.
    pub ended: Instant,
    /// What it costs in a table.
    pub units: Units,
    /// The partitions of tables that it read or wrote.
    pub touched: Vec<Touch>,
    /// Whether it is a call to a queue that is first in first out.
    pub fifo: bool,
    /// Whether it is a message with a group for a queue that is not: those cost more.
    pub fair: bool,
    /// Bytes of the request.
    pub bytes: usize,
}

impl Call {
    /// Such as `DynamoDB.GetItem`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.service.name(), self.operation)
    }

    /// Whether it writes to a table.
    pub fn writes(&self) -> bool {
        self.service == Service::DynamoDb && self.units.write > 0.0
    }
}

/// What was posted to a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    /// The connection.
    pub connection: String,
    /// The message.
    pub message: Value,
}

/// All that there is.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) dynamo: Dynamo,
    pub(crate) queues: Queues,
    calls: Vec<Call>,
    posted: Vec<Posted>,
    /// Messages that Slack has.
    shown: u64,
    faults: Vec<String>,
}

impl State {
    /// Nothing but the template's tables and queues.
    pub(crate) fn new(template: &Template) -> Result<Self> {
        let mut dynamo = Dynamo::default();
        for (id, indexes) in template.tables()? {
            dynamo.create(&id, indexes);
        }
        Ok(Self {
            dynamo,
            queues: Queues::new(template.queues()),
            calls: Vec::new(),
            posted: Vec::new(),
            shown: 0,
            faults: Vec::new(),
        })
    }

    /// What was posted to connections since this was asked for last.
    pub(crate) fn take_posted(&mut self) -> Vec<Posted> {
        std::mem::take(&mut self.posted)
    }

    /// Says so if something was called that is wrong or not understood.
    pub(crate) fn check(&self) -> Result<()> {
        match self.faults.first() {
            None => Ok(()),
            Some(fault) => {
                bail!("a function called what the bench's AWS does not understand: {fault}")
            }
        }
    }
}

/// The endpoint, while it runs.
#[derive(Debug)]
pub struct Aws {
    state: Arc<Mutex<State>>,
    server: Server,
}

/// The account of the addresses of queues.
const ACCOUNT: &str = "000000000000";

/// What the template's variables are set to, for functions that reach AWS and Slack at `url`, with
/// Slack's requests signed with `secret`.
pub(crate) fn values(
    url: &str,
    secret: &str,
    template: &Template,
) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::from([
        ("SlackSigningSecret".to_owned(), secret.to_owned()),
        ("SlackBotToken".to_owned(), "xoxb-bench".to_owned()),
        ("SlackApiUrl".to_owned(), format!("{url}{}", answer::SLACK)),
        (
            "WEBSOCKET_MANAGEMENT_URL".to_owned(),
            format!("{url}{}", answer::MANAGEMENT),
        ),
    ]);
    for queue in template.queues() {
        let url = format!("{url}/{ACCOUNT}/{}", queue.id);
        values.insert(queue.id, url);
    }
    for (table, _) in template.tables()? {
        values.insert(table.clone(), table);
    }
    Ok(values)
}

impl Aws {
    /// Starts it with the template's tables and queues.
    pub async fn start(template: &Template) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::new(template)?));
        let server = Server::start(state.clone()).await?;
        Ok(Self { state, server })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What was called since this was asked for last.
    ///
    /// # Errors
    /// If something was called that is wrong or not understood.
    pub fn take_calls(&self) -> Result<Vec<Call>> {
        let mut state = self.state();
        state.check()?;
        Ok(std::mem::take(&mut state.calls))
    }

    /// What was posted to connections since this was asked for last.
    pub fn take_posted(&self) -> Vec<Posted> {
        self.state().take_posted()
    }
}

/// What is locked is whole between calls, whatever became of one.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
