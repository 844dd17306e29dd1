//! What a test's agent does about tasks.

use serde_json::{Value, json};

use super::TestAgent;

/// A task that an agent was sent.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) id: String,
    pub(crate) attempt: u64,
    pub(crate) payload: Value,
}

impl Submitted {
    /// A payload about this attempt of the task.
    pub(crate) fn with(&self, mut fields: Value) -> Value {
        fields["taskId"] = json!(self.id);
        fields["attempt"] = json!(self.attempt);
        fields
    }
}

impl TestAgent {
    /// The next task, not yet acknowledged.
    pub(crate) async fn submitted(&mut self) -> Submitted {
        let payload = self.expect("TASK_SUBMIT").await;
        Submitted {
            id: payload["taskId"].as_str().expect("a task id").to_owned(),
            attempt: payload["attempt"].as_u64().expect("an attempt"),
            payload,
        }
    }

    /// The next task, acknowledged.
    pub(crate) async fn take(&mut self) -> Submitted {
        let task = self.submitted().await;
        self.send("TASK_ACK", task.with(json!({ "accepted": true })))
            .await;
        task
    }

    /// TASK_COMPLETE; returns once the cloud has confirmed it.
    pub(crate) async fn complete(&mut self, task: &Submitted, result: &str) {
        let id = self
            .send("TASK_COMPLETE", task.with(json!({ "result": result })))
            .await;
        self.confirmed(&id).await;
    }

    /// Hands a task back; returns once the cloud has heard it.
    pub(crate) async fn refuse(&mut self, task: &Submitted, reason: &str) {
        let refusal = json!({ "accepted": false, "reason": reason, "retryable": true });
        self.send("TASK_ACK", task.with(refusal)).await;
        self.is_heard().await;
    }

    /// Returns once the cloud has told the agent to stop a task; gives the reason.
    pub(crate) async fn told_to_stop(&mut self, task: &str) -> String {
        let payload = self
            .expect_where("TASK_CANCEL", |payload| payload["taskId"] == task)
            .await;
        payload["reason"].as_str().expect("a reason").to_owned()
    }

    /// Returns once the cloud has confirmed a message.
    pub(crate) async fn confirmed(&mut self, id: &str) {
        self.expect_where("MESSAGE_ACK", |payload| payload["messageId"] == id)
            .await;
    }

    /// The SYSTEM_ERROR about a message; fails unless it has this code.
    pub(crate) async fn refused(&mut self, id: &str, code: &str) {
        let error = self
            .expect_where("SYSTEM_ERROR", |payload| payload["messageId"] == id)
            .await;
        assert_eq!(error["code"], code, "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{error}"
        );
    }
}
