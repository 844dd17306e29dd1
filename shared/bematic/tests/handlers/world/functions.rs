//! The functions, each in a new execution environment with an empty cache.

use std::sync::Arc;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use bematic::{
    dead_letter::{DeadLetter, QueueName, Reason},
    error::BematicError,
    handlers::{
        batch::BatchWorker,
        connect::{bind, disconnect},
        dispatch::Dispatcher,
        event::SocketEvent,
        message::MessageRouter,
        notify::Notifier,
        sqs,
        sweep::Sweeper,
        webhook::{CommandExecutor, Webhook},
    },
    ports::{
        BatchMessage, DispatchMessage, NotifyMessage, Ports, SourceMessage, SourceQueue,
        UnbindOutcome,
    },
};
use bematic_aws::{app::App, config::EnvVars, queue::SqsSourceQueue};
use fake_aws::{FakeAws, ReceivedMessage};
use serde::de::DeserializeOwned;

use super::{
    OPERATIONS, World, at_once,
    fixed::Fixed,
    out::{BATCHES, DISPATCH, NOTIFICATIONS},
    store::{AGENTS, KEYS, TASKS},
};

/// The signing secret, by its logical id in the template, which stands for its ARN.
pub(crate) const SIGNING_SECRET: &str = "SigningSecret";
/// The bot token, likewise.
pub(super) const BOT_TOKEN: &str = "BotToken";

// The names of the functions.
pub(crate) const WS_AUTHORIZER: &str = "ws-authorizer";
pub(crate) const WS_CONNECT: &str = "ws-connect";
pub(crate) const WS_DISCONNECT: &str = "ws-disconnect";
pub(crate) const WS_MESSAGE: &str = "ws-message";
pub(crate) const WS_HEARTBEAT: &str = "ws-heartbeat";
pub(crate) const DISPATCHER: &str = "dispatcher";
pub(crate) const NOTIFIER: &str = "notifier";
pub(crate) const BATCH: &str = "batch";
pub(crate) const SWEEPER: &str = "sweeper";
pub(crate) const SLACK_WEBHOOK: &str = "slack-webhook";

/// The signing secret of the Slack app.
pub(crate) const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// Returns the composition root with the template's tables and queues, and the default settings except
/// those in `set`.
pub(super) fn app(aws: &FakeAws, time: &Arc<Fixed>, set: &[(&str, &str)]) -> App {
    let url = |queue: &str| aws.queue(queue).url();
    let variables = [
        ("TASKS_TABLE", TASKS.to_owned()),
        ("AGENTS_TABLE", AGENTS.to_owned()),
        ("KEYS_TABLE", KEYS.to_owned()),
        ("DISPATCH_QUEUE_URL", url(DISPATCH)),
        ("DISPATCH_DEAD_LETTERS_URL", url("DispatchDeadLetters")),
        ("NOTIFICATIONS_QUEUE_URL", url(NOTIFICATIONS)),
        (
            "NOTIFICATIONS_DEAD_LETTERS_URL",
            url("NotificationsDeadLetters"),
        ),
        ("BATCH_QUEUE_URL", url(BATCHES)),
        ("BATCH_DEAD_LETTERS_URL", url("BatchDeadLetters")),
        (
            "WEBSOCKET_MANAGEMENT_URL",
            "http://management.invalid/stage".to_owned(),
        ),
        ("OPERATIONS_CHANNEL", OPERATIONS.to_owned()),
        ("FIRST_ADMINS", "U1, U2".to_owned()),
        ("SLACK_TEAM_ID", "T1,T2".to_owned()),
        ("SLACK_APP_ID", "A1".to_owned()),
        ("SLACK_SIGNING_SECRET_ARN", SIGNING_SECRET.to_owned()),
        ("SLACK_BOT_TOKEN_ARN", BOT_TOKEN.to_owned()),
    ];
    let set = set.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let variables = variables.into_iter().chain(set);
    let environment: EnvVars = variables.map(|(name, it)| (name.to_owned(), it)).collect();
    App::new(environment, &aws.sdk_config(), time.clone(), time.clone()).unwrap()
}

impl World {
    /// Returns the ports of a function, whose calls are recorded under its name.
    pub(crate) fn ports(&self, function: &'static str) -> Arc<Ports> {
        let mut ports = self.ports.lock().unwrap();
        let new = || self.ports_with(function, &[]);
        ports.entry(function).or_insert_with(new).clone()
    }

    /// Returns the ports of a function in a deployment with these variables.
    pub(crate) fn ports_with(&self, function: &'static str, set: &[(&str, &str)]) -> Arc<Ports> {
        app(&self.aws.labelled(function), &self.time, set).ports()
    }

    /// Handles `$connect`.
    pub(crate) async fn on_connect(&self, event: &SocketEvent) -> Result<(), BematicError> {
        bind(&self.ports(WS_CONNECT), event).await
    }

    /// Handles `$disconnect`.
    pub(crate) async fn on_disconnect(
        &self,
        event: &SocketEvent,
    ) -> Result<UnbindOutcome, BematicError> {
        disconnect(&self.ports(WS_DISCONNECT), event).await
    }

    /// Returns an environment of the function that gets all messages except the heartbeats, and the
    /// heartbeats in the other spelling.
    pub(crate) fn router(&self) -> MessageRouter {
        MessageRouter::new(self.ports(WS_MESSAGE))
    }

    /// Returns an environment of the function to which API Gateway routes a message of this type.
    pub(crate) fn router_of(&self, kind: &str) -> MessageRouter {
        match kind {
            "HEARTBEAT_PING" | "HEARTBEAT_PONG" => MessageRouter::new(self.ports(WS_HEARTBEAT)),
            _ => self.router(),
        }
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(self.ports(DISPATCHER))
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier::new(self.ports(NOTIFIER), self.slack.client.clone())
    }

    /// Returns a notifier with the client of Slack that its function makes, which has yet to read the
    /// bot token, and whose Slack does not answer.
    pub(crate) fn notifier_that_reads_its_token(&self) -> Notifier {
        let set = [("SLACK_API_URL", "http://127.0.0.1:1/api")];
        let app = app(&self.aws.labelled(NOTIFIER), &self.time, &set);
        Notifier::new(app.ports(), app.slack_client().unwrap())
    }

    pub(crate) fn batch_worker(&self) -> BatchWorker {
        BatchWorker::new(self.ports(BATCH))
    }

    pub(crate) fn sweeper(&self) -> Sweeper {
        Sweeper::new(self.ports(SWEEPER))
    }

    /// Returns a webhook that knows the signing secret already, so that a test counts the other
    /// calls.
    pub(crate) fn webhook(&self) -> Webhook {
        let unobserved = app(&self.aws.unobserved(), &self.time, &[]);
        Webhook::new(
            self.ports(SLACK_WEBHOOK),
            unobserved.signing_secret().unwrap(),
            self.slack.client.clone(),
        )
    }

    /// Returns a webhook whose reading of its secrets is counted among the calls, and can fail.
    pub(crate) fn webhook_that_reads_its_secret(&self) -> Webhook {
        let aws = self.aws.labelled(SLACK_WEBHOOK);
        let app = app(&aws, &self.time, &[]);
        Webhook::new(
            self.ports(SLACK_WEBHOOK),
            app.signing_secret().unwrap(),
            self.slack.client_with_token(app.bot_token().unwrap()),
        )
    }

    /// Returns what executes people's commands in the webhook, on these ports.
    pub(crate) fn executor(&self, ports: Arc<Ports>) -> CommandExecutor {
        CommandExecutor::new(ports, self.slack.client.clone())
    }

    /// Invokes the dispatcher with the due messages of its queue, as Lambda does.
    pub(crate) async fn feed_dispatcher(&self) -> Fed {
        let dispatcher = self.dispatcher();
        let handle = |message: DispatchMessage| dispatcher.handle(message);
        self.feed(QueueName::Dispatch, handle).await
    }

    /// Invokes the notifier with the due messages of its queue.
    pub(crate) async fn feed_notifier(&self) -> Fed {
        let notifier = self.notifier();
        let handle = |message: NotifyMessage| notifier.handle(message);
        self.feed(QueueName::Notifications, handle).await
    }

    /// Invokes the worker of bulk operations with the due messages of its queue.
    pub(crate) async fn feed_batch_worker(&self) -> Fed {
        let worker = self.batch_worker();
        let handle = |message: BatchMessage| worker.handle(message);
        self.feed(QueueName::Batch, handle).await
    }

    /// Plays Lambda's event source mapping: receives up to ten messages, invokes the function, and deletes
    /// those that the partial batch response does not name as failed.
    async fn feed<M, F>(&self, name: QueueName, handle: impl Fn(M) -> F) -> Fed
    where
        M: DeserializeOwned,
        F: Future<Output = Result<(), BematicError>>,
    {
        let queue = self.aws.queue(queue_id(name));
        let received = queue.receive(10);
        if received.is_empty() {
            return Fed::default();
        }
        let source = self.source_queue(name);
        let mut event = SqsEvent::default();
        event.records = received.iter().map(record).collect();
        let response = sqs::handle_each(event, &source, handle).await;
        let failed: Vec<_> = response
            .batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier)
            .collect();
        let (failed, done): (Vec<_>, _) = received
            .into_iter()
            .partition(|it| failed.contains(&it.message.id));
        for message in &done {
            queue.delete(&message.receipt_handle);
        }
        let done = done.len();
        Fed { done, failed }
    }

    /// Returns the queue that invokes a function.
    pub(crate) fn source_queue(&self, name: QueueName) -> SqsSourceQueue {
        let queue = self.aws.queue(queue_id(name));
        let policy = queue.spec().redrive_policy.as_ref().unwrap();
        let max_receives = policy.max_receive_count;
        let set = [("MAX_RECEIVES", &*max_receives.to_string())];
        let consumer = match name {
            QueueName::Dispatch => DISPATCHER,
            QueueName::Notifications => NOTIFIER,
            QueueName::Batch => BATCH,
        };
        app(&self.aws.labelled(consumer), &self.time, &set).source_queue(name)
    }

    /// Sends a message of the notifier's queue to the dead letters.
    pub(crate) async fn send_to_dead_letters(&self, body: &str, reason: &Reason) {
        let message = SourceMessage {
            id: "given-up",
            body,
            group: Some("group"),
            fifo: true,
        };
        let source = self.source_queue(QueueName::Notifications);
        source.send_to_dead_letters(message, reason).await.unwrap();
        self.calls.take();
    }

    /// Returns the dead letters of a queue.
    pub(crate) fn dead_letters(&self, name: QueueName) -> Vec<DeadLetter> {
        let listed = self.unobserved.dead_letters.list(name);
        at_once(listed).unwrap().letters
    }
}

/// The outcome of an invocation by a queue.
#[derive(Debug, Default)]
pub(crate) struct Fed {
    /// The number of messages that were deleted.
    pub(crate) done: usize,
    /// The messages that become visible again.
    pub(crate) failed: Vec<ReceivedMessage>,
}

/// Returns the logical id of a queue in the template.
pub(crate) const fn queue_id(name: QueueName) -> &'static str {
    match name {
        QueueName::Dispatch => DISPATCH,
        QueueName::Notifications => NOTIFICATIONS,
        QueueName::Batch => BATCHES,
    }
}

fn record(received: &ReceivedMessage) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(received.message.id.clone());
    record.receipt_handle = Some(received.receipt_handle.clone());
    record.body = Some(received.message.body.clone());
    let attributes = received.system_attributes().into_iter();
    record.attributes = attributes
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    record
}
