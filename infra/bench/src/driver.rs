//! The driver: what API Gateway and Lambda's event source mappings do around functions, on a [`FakeAws`].
//!
//! The bench drives the real binaries with it, one invocation at a time; the simulation drives handlers in
//! this process, many at a time and in virtual time. [`Functions`] is what differs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bematic_protocol::time::Clock;
use fake_aws::{Call, ConnectionState, FakeAws, Hook, Message, ReceivedMessage, Service};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::events::{self, Socket};
use crate::template::{Function, Source};

/// The function of agents' messages.
pub(crate) const MESSAGES: &str = "ws-message";
/// The function of their heartbeats.
pub(crate) const HEARTBEATS: &str = "ws-heartbeat";
/// The function of Slack's requests.
pub(crate) const WEBHOOK: &str = "slack-webhook";

/// How long at most before a queue is looked at again.
const LOOK: Duration = Duration::from_mins(15);

/// The functions, however they are invoked.
pub(crate) trait Functions {
    /// What an invocation, or a part of it, is accounted to.
    type Label: Copy;

    /// What the handling of a message of a queue is accounted to.
    fn label(&self, function: &str, message: &Message) -> Self::Label;

    /// Invokes a function, and returns its answer. Each message of a queue's batch has a label of its
    /// own; any other event has one.
    ///
    /// # Errors
    /// The function failed, or could not be invoked.
    async fn invoke(&self, function: &str, event: Value, labels: &[Self::Label]) -> Result<Value>;
}

/// Drives functions on an AWS.
pub(crate) struct Driver<F> {
    pub(crate) aws: FakeAws,
    pub(crate) functions: F,
    /// The functions' clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The event source mappings: functions with their queues.
    mappings: Vec<(String, Source)>,
    /// Notified when a message was sent to a queue.
    sent: Arc<Notify>,
}

/// Notifies of every message that is sent to a queue.
struct Sent(Arc<Notify>);

#[async_trait]
impl Hook for Sent {
    async fn after(&self, call: &Call) {
        if call.service == Service::Sqs {
            self.0.notify_waiters();
        }
    }
}

impl<F: Functions> Driver<F> {
    /// Drives `functions`, which the template deploys as `deployed`.
    pub(crate) fn new(
        aws: FakeAws,
        functions: F,
        deployed: &[Function],
        clock: Arc<dyn Clock>,
    ) -> Self {
        let sent = Arc::new(Notify::new());
        aws.hook(Sent(sent.clone()));
        let mappings = deployed.iter();
        let mappings = mappings.filter_map(|it| Some((it.name.clone(), it.source.clone()?)));
        Self {
            aws,
            functions,
            clock,
            mappings: mappings.collect(),
            sent,
        }
    }

    /// A client connects: the handshake is authorized, `$connect` handled, and the connection open. The
    /// client may authenticate by an agent's id and key. One label each for the two invocations.
    pub(crate) async fn connect(
        &self,
        connection: &str,
        key: Option<(&str, &str)>,
        [authorize, connect]: [F::Label; 2],
    ) -> Result<Socket> {
        let now = self.clock.now();
        let mut socket = Socket::new(connection, now);
        let handshake = events::handshake(&socket, key, now);
        let functions = &self.functions;
        let authorized = functions
            .invoke("ws-authorizer", handshake, &[authorize])
            .await?;
        socket.authorizer = authorized["context"].clone();
        let event = events::socket_event(&socket, "$connect", None, self.clock.now());
        let answer = functions.invoke("ws-connect", event, &[connect]).await?;
        if answer["statusCode"] != 200 {
            bail!("ws-connect refused the connection {connection}: {answer}");
        }
        let connections = self.aws.connections();
        connections.set(connection, ConnectionState::Open);
        Ok(socket)
    }

    /// A client sends a message, which goes to the function of its route in the template.
    pub(crate) async fn message(
        &self,
        socket: &Socket,
        text: &str,
        label: F::Label,
    ) -> Result<Value> {
        let message: Value = serde_json::from_str(text).context("a client sends JSON")?;
        let function = match message["type"].as_str() {
            Some("HEARTBEAT_PING" | "HEARTBEAT_PONG") => HEARTBEATS,
            _ => MESSAGES,
        };
        let event = events::socket_event(socket, "$default", Some(text), self.clock.now());
        self.functions.invoke(function, event, &[label]).await
    }

    /// A client disconnects.
    pub(crate) async fn disconnect(&self, socket: &Socket, label: F::Label) -> Result<()> {
        let connections = self.aws.connections();
        connections.set(&socket.connection, ConnectionState::Gone);
        let event = events::socket_event(socket, "$disconnect", None, self.clock.now());
        let functions = &self.functions;
        functions.invoke("ws-disconnect", event, &[label]).await?;
        Ok(())
    }

    /// Slack sends a slash command; `trigger` tells it from others.
    pub(crate) async fn command(
        &self,
        channel: &str,
        trigger: &str,
        text: &str,
        label: F::Label,
    ) -> Result<()> {
        let event = events::slash_command(channel, trigger, text, self.clock.now());
        let answer = self.functions.invoke(WEBHOOK, event, &[label]).await?;
        if answer["statusCode"] != 200 {
            bail!("the webhook refused {text:?}: {answer}");
        }
        Ok(())
    }

    /// A minute has passed: the schedule invokes the sweeper.
    pub(crate) async fn sweep(&self, label: F::Label) -> Result<()> {
        let event = events::schedule();
        self.functions.invoke("sweeper", event, &[label]).await?;
        Ok(())
    }

    /// The messages of the queues that feed functions.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Message> {
        let queues = self.mappings.iter();
        queues.flat_map(|(_, source)| self.aws.queue(&source.queue).peek())
    }

    /// Invokes functions with what can be received, a message at a time, until there is nothing.
    ///
    /// # Errors
    /// A function failed, or gave a message back.
    pub(crate) async fn deliver(&self) -> Result<()> {
        'next: loop {
            for (function, source) in &self.mappings {
                let received = self.aws.queue(&source.queue).receive(1);
                if received.is_empty() {
                    continue;
                }
                let failed = self.pass_on(function, source, &received).await?;
                if !failed.is_empty() {
                    bail!("{function} gave {failed:?} back; its output says why");
                }
                continue 'next;
            }
            return Ok(());
        }
    }

    /// Invokes the function of a queue with messages that were received, and deletes those that it
    /// handled; returns the bodies of the others, which come back.
    async fn pass_on(
        &self,
        function: &str,
        source: &Source,
        received: &[ReceivedMessage],
    ) -> Result<Vec<String>> {
        let messages = received.iter().map(|it| &it.message);
        let labels = messages.map(|it| self.functions.label(function, it));
        let labels: Vec<_> = labels.collect();
        let queue = self.aws.queue(&source.queue);
        let event = events::queue_event(queue.spec(), received);
        let answer = self.functions.invoke(function, event, &labels).await?;
        let failures = answer["batchItemFailures"].as_array();
        let failures: Vec<_> = failures.into_iter().flatten().collect();
        let mut failed = Vec::new();
        for ReceivedMessage {
            message,
            receipt_handle,
        } in received
        {
            let mut failures = failures.iter();
            if failures.any(|it| it["itemIdentifier"] == message.id) {
                failed.push(message.body.clone());
            } else {
                queue.delete(receipt_handle);
            }
        }
        Ok(failed)
    }
}

impl<F: Functions + 'static> Driver<F> {
    /// Feeds every function from its queue until one fails: as many messages at a time, and invocations
    /// side by side, as the template says. What a function gives back comes again when it is due.
    pub(crate) async fn feed(self: Arc<Self>) -> Result<()> {
        let mut mappings = JoinSet::new();
        for (function, source) in self.mappings.clone() {
            mappings.spawn_local(self.clone().feed_one(function.into(), source));
        }
        while let Some(ended) = mappings.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn feed_one(self: Arc<Self>, function: Arc<str>, source: Source) -> Result<()> {
        let queue = self.aws.queue(&source.queue);
        let mut running = JoinSet::new();
        loop {
            // Begun before the queue is looked at: what is sent meanwhile is noticed.
            let sent = self.sent.notified();
            while running.len() < source.concurrency {
                let received = queue.receive(source.batch);
                if received.is_empty() {
                    break;
                }
                let (driver, function, source) = (self.clone(), function.clone(), source.clone());
                running.spawn_local(async move {
                    driver
                        .pass_on(&function, &source, &received)
                        .await
                        .map(drop)
                });
            }
            let free = running.len() < source.concurrency;
            let now = self.clock.now().as_millis();
            let next = queue.next_due();
            let next = next.map_or(LOOK, |due| {
                Duration::from_millis(due.saturating_sub(now).max(1))
            });
            tokio::select! {
                // What waited for the rest of its group can be received now.
                Some(ended) = running.join_next() => ended??,
                () = sent, if free => {}
                () = sleep(next), if free => {}
            }
        }
    }
}
