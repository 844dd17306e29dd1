//! What agents do and say.

use bematic::{
    agent::Binding,
    handlers::{event::SocketEvent, message::MessageRouter},
    ports::Bound,
};
use bematic_protocol::{
    messages::{CloudMessage, Spelling},
    time::{Clock, Timestamp},
};
use serde_json::{Value, json};

use super::{AGENT, World, agent_id, connection};

impl World {
    /// The agent connects with its key in a header, and has said something.
    pub(crate) async fn connect(&self, name: &str) {
        self.handshake(name).await;
        self.unobserved
            .presence
            .record_first_message(&agent_id(), &connection(name), Spelling::Canonical)
            .await
            .unwrap();
    }

    /// The agent connects with its key in a header.
    pub(crate) async fn handshake(&self, name: &str) {
        self.out.open(name);
        let event = event(name, true, String::new());
        self.connector()
            .connect(&event, self.time.now())
            .await
            .unwrap();
    }

    /// Somebody connects without a header.
    pub(crate) async fn add_unbound(&self, name: &str) {
        self.out.open(name);
        let stranger = event(name, false, String::new());
        let connected = self.connector().connect(&stranger, self.time.now()).await;
        connected.unwrap();
    }

    /// The agent connects without a header, and says who it is in its first message.
    pub(crate) async fn authenticate_in_band(&self, name: &str) -> Vec<CloudMessage> {
        self.add_unbound(name).await;
        let request = json!({ "agentId": AGENT, "apiKey": self.key.expose(), "version": "1" });
        let body = wire("auth:request", &request, self.time.now());
        self.say_in_band(&self.router(), name, body).await
    }

    /// An agent of this name, made if there is none, connects and has said something.
    pub(crate) async fn join(&self, agent: &str, name: &str) {
        self.add_agent(agent).await;
        self.out.open(name);
        let (agent, now) = (agent.parse().unwrap(), self.time.now());
        let binding = Binding::new(connection(name), now, Some(Spelling::Canonical));
        let bound = self.unobserved.connections.bind(&agent, &binding).await;
        assert!(matches!(bound, Ok(Bound::Current { .. })));
    }

    /// That agent says something; what it is answered.
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
        self.router().handle(event).await;
        let answers = self.out.take_sent();
        self.out.put_back(before);
        answers.into_iter().map(|(_, message)| message).collect()
    }

    /// What an agent does every 20 s: a heartbeat, and the answers to the pings that it was sent.
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

    /// The agent says something on `connection`, to a fresh environment.
    pub(crate) async fn say(
        &self,
        connection: &str,
        kind: &str,
        payload: Value,
    ) -> Vec<CloudMessage> {
        self.say_to(&self.router(), connection, kind, payload).await
    }

    /// The agent says something on `connection`, to this environment; what it is answered.
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

    /// Somebody says something on a connection without a header, to this environment.
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
        connected_at: None,
        body,
    }
}
