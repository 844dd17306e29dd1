//! Agents: connections and the messages over them.

use bematic::{
    agent::Binding,
    handlers::{event::SocketEvent, message::MessageRouter},
    ports::BindOutcome,
};
use bematic_protocol::{
    messages::{CloudMessage, TypeSpelling},
    time::{Clock, Timestamp},
};
use serde_json::{Value, json};

use super::{AGENT, World, agent_id, connection};

impl World {
    /// Connects the agent with its key in a header, and records its first message.
    pub(crate) async fn connect(&self, name: &str) {
        self.handshake(name).await;
        self.unobserved
            .presence
            .record_first_message(&agent_id(), &connection(name), TypeSpelling::Canonical)
            .await
            .unwrap();
    }

    /// Connects the agent with its key in a header, without a first message.
    pub(crate) async fn handshake(&self, name: &str) {
        self.out.open(name);
        let key_id = Some(self.key.hash().key_id());
        let event = SocketEvent {
            key_id,
            ..event(name, true, String::new())
        };
        self.on_connect(&event).await.unwrap();
    }

    /// Opens an unbound connection: a handshake without a header.
    pub(crate) async fn add_unbound(&self, name: &str) {
        self.out.open(name);
        let handshake = event(name, false, String::new());
        let connected = self.on_connect(&handshake).await;
        connected.unwrap();
    }

    /// Connects the agent without a header, and authenticates it in band. Returns the answers.
    pub(crate) async fn authenticate_in_band(&self, name: &str) -> Vec<CloudMessage> {
        self.add_unbound(name).await;
        let request = json!({ "agentId": AGENT, "apiKey": self.key.expose(), "version": "1" });
        let body = wire("auth:request", &request, self.time.now());
        self.say_in_band(&self.router(), name, body).await
    }

    /// Creates an agent of this name unless it exists, and binds a connection to it.
    pub(crate) async fn join(&self, agent: &str, name: &str) {
        self.add_agent(agent).await;
        self.out.open(name);
        let (agent, now) = (agent.parse().unwrap(), self.time.now());
        let binding = Binding::new(connection(name), now, Some(TypeSpelling::Canonical));
        let bound = self.unobserved.connections.bind(&agent, &binding).await;
        assert!(matches!(bound, Ok(BindOutcome::Current { .. })));
    }

    /// Sends a message as the agent of this name, and returns the answers.
    pub(crate) async fn say_as(
        &self,
        agent: &str,
        name: &str,
        kind: &str,
        payload: Value,
    ) -> Vec<CloudMessage> {
        let body = wire(kind, &payload, self.time.now());
        let agent_id = Some(agent.parse().unwrap());
        let event = SocketEvent {
            agent_id,
            ..event(name, true, body)
        };
        self.out.speaks(name);
        let before = self.out.take_sent();
        self.router_of(kind).handle(event).await;
        let answers = self.out.take_sent();
        self.out.put_back(before);
        answers.into_iter().map(|(_, message)| message).collect()
    }

    /// Sends the agent's heartbeat, and its echoes of the pings that it has received.
    pub(crate) async fn beat(&self, router: &MessageRouter, connection: &str) {
        let (pings, others): (Vec<_>, Vec<_>) = self
            .out
            .take_sent()
            .into_iter()
            .partition(|(_, message)| matches!(message, CloudMessage::HeartbeatPing(_)));
        self.say_to(router, connection, "HEARTBEAT_PING", json!({}))
            .await;
        for (_, message) in pings {
            if let CloudMessage::HeartbeatPing(ping) = message {
                let pong = json!({ "agentId": AGENT, "serverTime": ping.server_time,
                    "activeTasks": 0, "cpuUsage": 0, "memoryUsage": 0 });
                self.say_to(router, connection, "HEARTBEAT_PONG", pong)
                    .await;
            }
        }
        self.out.put_back(others);
    }

    /// Sends the agent's message over `connection` to a new environment, and returns the answers.
    pub(crate) async fn say(
        &self,
        connection: &str,
        kind: &str,
        payload: Value,
    ) -> Vec<CloudMessage> {
        self.say_to(&self.router_of(kind), connection, kind, payload)
            .await
    }

    /// Sends the agent's message over `connection` to this environment, and returns the answers.
    pub(crate) async fn say_to(
        &self,
        router: &MessageRouter,
        connection: &str,
        kind: &str,
        payload: Value,
    ) -> Vec<CloudMessage> {
        self.out.speaks(connection);
        let body = wire(kind, &payload, self.time.now());
        router.handle(event(connection, true, body)).await;
        self.out
            .take_sent()
            .into_iter()
            .map(|(_, message)| message)
            .collect()
    }

    /// Sends a message over a connection without a header to this environment, and returns the answers.
    pub(crate) async fn say_in_band(
        &self,
        router: &MessageRouter,
        connection: &str,
        body: String,
    ) -> Vec<CloudMessage> {
        self.out.speaks(connection);
        router.handle(event(connection, false, body)).await;
        self.out
            .take_sent()
            .into_iter()
            .map(|(_, message)| message)
            .collect()
    }
}

pub(crate) fn wire(kind: &str, payload: &Value, now: Timestamp) -> String {
    json!({ "id": "m1", "type": kind, "payload": payload, "timestamp": now.as_millis() })
        .to_string()
}

pub(crate) fn event(name: &str, authorized: bool, body: String) -> SocketEvent {
    SocketEvent {
        connection_id: connection(name),
        agent_id: authorized.then(agent_id),
        key_id: None,
        address: None,
        connected_at: None,
        body,
    }
}
