//! The AWS that tests run on: DynamoDB, SQS and API Gateway's management of WebSocket connections in
//! this process, without sockets. It knows nothing of what is built on it.
//!
//! Production code makes its clients from an [`SdkConfig`](aws_config::SdkConfig); a test gives it the one
//! of [`FakeAws::sdk_config`], whose HTTP client is the fake. Tables and queues are those of a SAM
//! template, under their logical ids. Each service refuses what AWS refuses.
//!
//! | what | how |
//! |---|---|
//! | the event source of a queue, played by the test | [`FakeAws::queue`] |
//! | the clients of a WebSocket API, played by the test | [`FakeAws::connections`] |
//! | what the tables hold, past the functions | [`FakeAws::item`], [`FakeAws::items`], [`FakeAws::put`] |
//! | what was called, and what it costs | [`FakeAws::calls`], [`FakeAws::meter`] |
//! | a call that fails, before or after its effect | [`FakeAws::failures`] |
//! | tasks that interleave, calls that take time, or anything else around a call | [`FakeAws::hook`] |
//! | indexes that lag behind | [`FakeAws::freeze_reads`] |
//! | a server for other processes | [`FakeAws::handle`] |
//!
//! Time is the caller's: delays, visibility timeouts, de-duplication and time to live go by its clock.
//!
//! # Example
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
//!
//! use aws_sdk_dynamodb::types::AttributeValue;
//! use fake_aws::{FakeAws, Failure, Template, When};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let template = Template::parse(r#"
//! Resources:
//!   Orders:
//!     Type: AWS::DynamoDB::Table
//!     Properties:
//!       AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
//!       KeySchema: [{ AttributeName: id, KeyType: HASH }]
//!   Work:
//!     Type: AWS::SQS::Queue
//!     Properties: { VisibilityTimeout: 60 }
//! "#)?;
//! let now = Arc::new(AtomicU64::new(1_700_000_000_000));
//! let clock = now.clone();
//! let aws = FakeAws::new(&template, Arc::new(move || clock.load(Relaxed)));
//!
//! // What production does:
//! let config = aws.sdk_config();
//! let dynamo = aws_sdk_dynamodb::Client::new(&config);
//! let put = dynamo.put_item().table_name("Orders").item("id", AttributeValue::S("1".into()));
//! put.send().await?;
//! let sqs = aws_sdk_sqs::Client::new(&config);
//! let work = aws.queue("Work");
//! let message = sqs.send_message().queue_url(work.url()).message_body("1").delay_seconds(5);
//! message.clone().send().await?;
//!
//! // What the test sees:
//! assert!(aws.item("Orders", &["1"]).is_some());
//! let calls: Vec<_> = aws.calls().take().iter().map(ToString::to_string).collect();
//! assert_eq!(calls, ["PutItem Orders", "SendMessage Work"]);
//! assert!(work.receive(10).is_empty(), "the message is delayed");
//! now.fetch_add(5_000, Relaxed);
//! let received = work.receive(10);
//! assert_eq!(received[0].message.body, "1");
//! work.delete(&received[0].receipt_handle);
//!
//! // The message is sent, and its sender does not learn of it:
//! aws.failures().arm(0, When::After, Failure::Connection);
//! assert!(message.send().await.is_err());
//! assert_eq!(work.depth(), 1);
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test double may panic when a test asks for what the template does not have"
)]

mod access;
mod account;
mod calls;
mod capacity;
mod clock;
mod driver;
mod dynamo;
mod fake;
mod items;
mod lock;
mod management;
mod meter;
mod queue;
mod reply;
mod sqs;
mod template;
mod units;
mod wire;

pub use crate::{
    calls::{
        Action, Call, Calls, Failure, Failures, Hook, Interleaving, Latency, Proceed, Service, When,
    },
    clock::Clock,
    driver::{Clients, Queue},
    dynamo::Lag,
    fake::{FakeAws, Item},
    management::Line,
    queue::Message,
    sqs::ReceivedMessage,
    template::{QueueSpec, Template, TemplateError},
    units::{Touch, Units},
    wire::ConnectionBroken,
};

#[cfg(test)]
mod tests;
