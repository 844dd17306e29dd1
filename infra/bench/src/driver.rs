//! What API Gateway and Lambda's event source mappings do around functions, on a [`FakeAws`].
//!
//! The bench invokes the real binaries, one invocation at a time; the simulation invokes handlers in this
//! process, many at a time and in virtual time. Both implement [`FunctionInvoker`].

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bematic_protocol::time::Clock;
use fake_aws::{ConnectionState, FakeAws, Message, ReceivedMessage};
use serde_json::{Value, json};

use crate::common::{HEARTBEAT_FUNCTION, MESSAGE_FUNCTION, WEBHOOK_FUNCTION};
use crate::events::{self, Socket};
use crate::template::{self, EventSourceMapping, Function};

/// An AWS with functions.
pub(crate) struct Cloud {
    pub(crate) aws: FakeAws,
    pub(crate) functions: template::FunctionsByName,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Cloud {
    pub(crate) fn function(&self, name: &str) -> Result<&Function> {
        let function = self.functions.get(name);
        function.with_context(|| format!("the template has no function {name}"))
    }

    /// The functions with queues, each with its event source mapping.
    pub(crate) fn event_source_mappings(
        &self,
    ) -> impl Iterator<Item = (&str, &EventSourceMapping)> {
        let functions = self.functions.iter();
        functions.filter_map(|(name, it)| Some((name.as_str(), it.source.as_ref()?)))
    }
}

/// Invokes functions, in whatever way, and does what API Gateway and Lambda's event source mappings
/// do around them.
pub(crate) trait FunctionInvoker {
    /// What an invocation, or a part of it, is accounted to.
    type InvocationLabel;

    fn cloud(&self) -> &Cloud;

    /// What the handling of a message of a queue is accounted to.
    fn queue_message_label(&self, function: &str, message: &Message) -> Self::InvocationLabel;

    /// Invokes a function, and returns its answer. Each message of a queue's batch has a label of its
    /// own; any other event has one.
    async fn invoke(
        &self,
        function: &str,
        event: Value,
        labels: &[Self::InvocationLabel],
    ) -> Result<Value>;

    /// A client connects: the handshake is authorized, `$connect` handled, and the connection open. The
    /// client may authenticate by an agent's id and key. One label each for the two invocations.
    async fn connect(
        &self,
        connection: &str,
        key: Option<(&str, &str)>,
        [authorize, connect]: [Self::InvocationLabel; 2],
    ) -> Result<Socket> {
        let cloud = self.cloud();
        let mut socket = Socket {
            connection: connection.to_owned(),
            authorizer: json!({}),
            connected_at: cloud.clock.now(),
        };
        let handshake = socket.authorizer_event(key);
        let labels = [authorize];
        let mut policy = self.invoke("ws-authorizer", handshake, &labels).await?;
        socket.authorizer = policy["context"].take();
        let event = socket.event("$connect", None, cloud.clock.now());
        let answer = self.invoke("ws-connect", event, &[connect]).await?;
        if answer["statusCode"] != 200 {
            bail!("ws-connect refused the connection {connection}: {answer}");
        }
        let connections = cloud.aws.connections();
        connections.set_state(connection, ConnectionState::Open);
        Ok(socket)
    }

    /// A client sends a message, which goes to the function of its route in the template.
    async fn send_client_message(
        &self,
        socket: &Socket,
        text: &str,
        label: Self::InvocationLabel,
    ) -> Result<Value> {
        let message: Value = serde_json::from_str(text).context("a client sends JSON")?;
        let function = match message["type"].as_str() {
            Some("HEARTBEAT_PING" | "HEARTBEAT_PONG") => HEARTBEAT_FUNCTION,
            _ => MESSAGE_FUNCTION,
        };
        let event = socket.event("$default", Some(text), self.cloud().clock.now());
        self.invoke(function, event, &[label]).await
    }

    /// A client has disconnected: `$disconnect` is handled.
    async fn disconnect(&self, socket: &Socket, label: Self::InvocationLabel) -> Result<()> {
        let connections = self.cloud().aws.connections();
        connections.set_state(&socket.connection, ConnectionState::Gone);
        let event = socket.event("$disconnect", None, self.cloud().clock.now());
        self.invoke("ws-disconnect", event, &[label]).await?;
        Ok(())
    }

    /// Slack sends a slash command; `trigger` tells it from others.
    async fn send_slash_command(
        &self,
        channel: &str,
        trigger: &str,
        text: &str,
        label: Self::InvocationLabel,
    ) -> Result<()> {
        let event = events::slash_command_event(channel, trigger, text, self.cloud().clock.now());
        let answer = self.invoke(WEBHOOK_FUNCTION, event, &[label]).await?;
        if answer["statusCode"] != 200 {
            bail!("the webhook refused {text:?}: {answer}");
        }
        Ok(())
    }

    /// Invokes the sweeper, as its schedule does.
    async fn sweep(&self, label: Self::InvocationLabel) -> Result<()> {
        self.invoke("sweeper", events::schedule_event(), &[label])
            .await?;
        Ok(())
    }

    /// Invokes the function of a queue with messages that were received, and deletes those that it
    /// handled; returns the bodies of the others, which come back.
    async fn handle_received_messages(
        &self,
        function: &str,
        source: &EventSourceMapping,
        received: &[ReceivedMessage],
    ) -> Result<Vec<String>> {
        let labels = received
            .iter()
            .map(|it| self.queue_message_label(function, &it.message));
        let labels: Vec<_> = labels.collect();
        let queue = self.cloud().aws.queue(&source.queue);
        let event = events::queue_event(queue.spec(), received);
        let answer = self.invoke(function, event, &labels).await?;
        let failures = answer["batchItemFailures"].as_array();
        let mut failed = Vec::new();
        for it in received {
            let mut failures = failures.into_iter().flatten();
            if failures.any(|failure| failure["itemIdentifier"] == it.message.id) {
                failed.push(it.message.body.clone());
            } else {
                queue.delete(&it.receipt_handle);
            }
        }
        Ok(failed)
    }
}
