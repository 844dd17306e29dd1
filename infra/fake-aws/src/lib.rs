//! The AWS that tests run on: DynamoDB, SQS, API Gateway's management of WebSocket connections, the
//! reading of Secrets Manager's secrets, and STS's GetCallerIdentity, in this process, without sockets.
//! It knows nothing of what is built on it.
//!
//! Production code makes its clients from an [`SdkConfig`](aws_config::SdkConfig); a test gives it the one
//! of [`FakeAws::sdk_config`], whose HTTP client is the fake. Tables and queues are those of a SAM
//! template, under their logical ids. Each service refuses what AWS refuses.
//!
//! | what | how |
//! |---|---|
//! | the event source of a queue, played by the test | [`FakeAws::queue`] |
//! | the clients of a WebSocket API, played by the test | [`FakeAws::connections`] |
//! | the secrets, and their rotation | [`FakeAws::secrets`] |
//! | what the tables hold, past the functions; reads that lag behind | [`FakeAws::tables`] |
//! | what was called, and what it costs | [`FakeAws::calls`], [`FakeAws::set_request_unit_metering`] |
//! | who called, and what IAM has to permit it | [`FakeAws::labelled`], [`Call::permissions`] |
//! | a call that fails, before or after its effect | [`FakeAws::planned_failures`] |
//! | tasks that interleave, or anything else around a call | [`FakeAws::add_hook`] |
//! | a server for other processes | [`FakeAws::handle`] |
//!
//! Time is the caller's: delays, visibility timeouts and de-duplication go by its clock.
//!
//! # Example
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
//!
//! use aws_sdk_dynamodb::types::AttributeValue;
//! use fake_aws::{FakeAws, Failure, FailurePoint, Template};
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
//! assert!(aws.tables().item("Orders", &["1"]).is_some());
//! let calls: Vec<_> = aws.calls().take().iter().map(ToString::to_string).collect();
//! assert_eq!(calls, ["PutItem Orders", "SendMessage Work"]);
//! assert!(work.receive(10).is_empty(), "the message is delayed");
//! now.fetch_add(5_000, Relaxed);
//! let received = work.receive(10);
//! assert_eq!(received[0].message.body, "1");
//! work.delete(&received[0].receipt_handle);
//!
//! // The message is sent, and its sender gets no answer:
//! aws.planned_failures().arm(0, FailurePoint::After, Failure::Connection);
//! assert!(message.send().await.is_err());
//! assert_eq!(work.peek().len(), 1);
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test double may panic when a test asks for what the template does not have"
)]

mod calls;
mod common;
mod dynamo;
mod fake;
mod gateway;
mod message;
mod metering;
mod permission;
mod queue;
mod secrets;
mod sqs;
mod sts;
mod template;

pub use crate::{
    calls::{Call, Calls, Failure, FailurePoint, Failures, Hook, RandomYields, Service},
    common::Clock,
    dynamo::{Item, Tables},
    fake::{ConnectionBroken, FakeAws},
    gateway::{ConnectionState, Connections},
    message::{Message, ReceivedMessage},
    metering::{PartitionAccess, Units},
    permission::Permission,
    queue::Queue,
    secrets::Secrets,
    sts::CALLER_ARN,
    template::{QueueSpec, RedrivePolicy, Template, TemplateError},
};

#[cfg(test)]
mod tests;
