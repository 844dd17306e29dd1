//! An agent's circuit breaker, as its owner and the operations channel see it.

use bematic::agent::Route;
use bematic::breaker::{Breaker, BreakerConfig};
use bematic_local::stack::STACK_NAME;
use reqwest::Method;
use serde_json::{Value, json};

use super::test::unique;
use super::{Card, Channel, Test, eventually};

/// How often a message is sent whose function times out.
const REPEATS: usize = 10;

impl Test {
    /// The agent's breaker as it is stored.
    pub(crate) async fn breaker(&self) -> Breaker {
        let id = self.agent_id.parse().expect("an agent id");
        self.admin.breaker(&id).await.expect("the breaker")
    }

    /// Returns once the agent's breaker is in this state.
    pub(crate) async fn breaker_is(&self, state: &str) -> Breaker {
        eventually(&format!("the breaker is {state}"), async || {
            let breaker = self.breaker().await;
            if breaker.state.name() == state {
                Ok(breaker)
            } else {
                Err(format!("{breaker:#?}"))
            }
        })
        .await
    }

    /// Gives the agent's breaker settings of its own.
    pub(crate) async fn configure_breaker(&self, change: impl Fn(BreakerConfig) -> BreakerConfig) {
        let id = self.agent_id.parse().expect("an agent id");
        let change = |config| Some(change(config));
        let configured = self.admin.configure_breaker(&id, change).await;
        configured.expect("the settings are stored");
    }

    /// Lets the channel's tasks go to the agent of another test too.
    pub(crate) async fn route_to(&self, other: &Self) {
        let route = format!("{},{}", self.agent_id, other.agent_id);
        let route: Route = route.parse().expect("a route");
        self.put_project(&self.channel, route, None, true).await;
    }

    /// What the operations channel was told of the agent, oldest first, once it is `count` messages.
    pub(crate) async fn told_operations(&self, count: usize) -> Vec<Card> {
        let channel = self.operations();
        eventually(&format!("operations was told {count} times"), async || {
            let messages = channel.messages().await;
            let cards: Vec<_> = messages
                .iter()
                .map(Card::of)
                .filter(|card| card.text.contains(&self.agent_id))
                .collect();
            if cards.len() == count {
                Ok(cards)
            } else {
                Err(format!("{cards:#?}"))
            }
        })
        .await
    }

    /// The operations channel.
    pub(crate) fn operations(&self) -> Channel {
        Channel::known(&self.stack, &self.trace, &self.stack.operations_channel_id)
    }
}

impl Test {
    /// Has the function that handles messages called as API Gateway does, for a message of the agent's:
    /// many at once, if that is asked for. A message whose function timed out is sent again, as an agent
    /// repeats what is not confirmed.
    pub(crate) async fn invoke_with_message(&self, connection: &str, kind: &str, payload: Value) {
        let body = json!({ "id": unique(), "type": kind, "payload": payload, "timestamp": 1 });
        let event = json!({
            "requestContext": {
                "routeKey": "$default",
                "eventType": "MESSAGE",
                "connectionId": connection,
                "authorizer": { "agentId": self.agent_id },
            },
            "body": body.to_string(),
            "isBase64Encoded": false,
        });
        let path = format!("/2015-03-31/functions/{STACK_NAME}-ws-message/invocations");
        for _ in 0..REPEATS {
            let sent = self
                .call_aws("lambda", Method::POST, &path, event.to_string())
                .await;
            assert_eq!(sent.status(), 200, "the function is called");
            let answer = sent.text().await;
            let answer = answer.expect("an answer");
            if !answer.contains("Task timed out") {
                assert!(answer.contains("200"), "{answer}");
                return;
            }
        }
        panic!("{kind} was not handled in {REPEATS} times");
    }
}
