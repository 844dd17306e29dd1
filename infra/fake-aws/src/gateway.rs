//! API Gateway's management API of WebSocket connections.

use std::{collections::HashMap, mem, sync::Mutex};

use serde_json::Value;

use crate::common::{ServiceError, ServiceResult, lock};

/// "Message payload size 128 KB" (API Gateway developer guide, "Quotas for configuring and running a
/// WebSocket API").
const PAYLOAD_LIMIT: usize = 128 * 1024;

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Posts arrive.
    Open,
    /// There is no such connection: every call is answered with 410.
    Gone,
    /// Posts arrive, and every call is answered with 410 all the same.
    GoneButDelivered,
}

/// The connections of the WebSocket API, as their clients see them.
#[derive(Debug, Default)]
pub struct Connections(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    connections: HashMap<String, ConnectionState>,
    posts: Vec<(String, Vec<u8>)>,
    deleted: Vec<String>,
}

impl Connections {
    /// Sets the state of a connection, which is [`ConnectionState::Gone`] at first.
    pub fn set_state(&self, id: &str, state: ConnectionState) {
        lock(&self.0).connections.insert(id.to_owned(), state);
    }

    /// Takes the payloads that arrived at clients, each with its connection.
    pub fn take_posts(&self) -> Vec<(String, Vec<u8>)> {
        mem::take(&mut lock(&self.0).posts)
    }

    /// Takes the connections that DeleteConnection closed.
    pub fn take_deleted(&self) -> Vec<String> {
        mem::take(&mut lock(&self.0).deleted)
    }

    pub(crate) fn call(&self, operation: &str, id: &str, payload: &[u8]) -> ServiceResult {
        let mut all = lock(&self.0);
        let state = all.connections.get(id).copied();
        let state = state.unwrap_or(ConnectionState::Gone);
        if operation == "PostToConnection" {
            if payload.len() > PAYLOAD_LIMIT {
                return Err(ServiceError::new(
                    413,
                    "PayloadTooLargeException",
                    "over 128 KB",
                ));
            }
            if state != ConnectionState::Gone {
                all.posts.push((id.to_owned(), payload.to_vec()));
            }
        } else if state == ConnectionState::Open {
            all.connections.remove(id);
            all.deleted.push(id.to_owned());
        }
        if state == ConnectionState::Open {
            Ok(Value::Null)
        } else {
            // Also of a connection that never was (AWS re:Post, "410 GoneException").
            Err(ServiceError::new(410, "GoneException", id))
        }
    }
}
