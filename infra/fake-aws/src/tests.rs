//! The fake through the real SDK clients.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    types::{AttributeValue, Delete, Put, ReturnConsumedCapacity, ReturnValue, TransactWriteItem},
};

use super::*;

mod calls;
mod dynamo;
mod gateway;
mod permissions;
mod secrets;
mod sqs;
mod sts;

const START: u64 = 1_700_000_000_000;

const TEMPLATE: &str = r"
Conditions:
  Never: !Equals [a, b]
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - { AttributeName: pk, AttributeType: S }
        - { AttributeName: sk, AttributeType: S }
        - { AttributeName: duePk, AttributeType: S }
        - { AttributeName: dueSk, AttributeType: S }
      KeySchema:
        - { AttributeName: pk, KeyType: HASH }
        - { AttributeName: sk, KeyType: RANGE }
      GlobalSecondaryIndexes:
        - IndexName: due
          KeySchema:
            - { AttributeName: duePk, KeyType: HASH }
            - { AttributeName: dueSk, KeyType: RANGE }
          Projection: { ProjectionType: INCLUDE, NonKeyAttributes: [title] }
        - IndexName: all
          KeySchema: [{ AttributeName: duePk, KeyType: HASH }]
          Projection: { ProjectionType: ALL }
      TimeToLiveSpecification: { AttributeName: expiresAt, Enabled: true }
      Tags: !If [Never, [], !Ref AWS::NoValue]
  Single:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
  Work:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 90
      RedrivePolicy: { deadLetterTargetArn: !GetAtt WorkDead.Arn, maxReceiveCount: 2 }
  WorkDead: { Type: AWS::SQS::Queue, Properties: { MessageRetentionPeriod: 1209600 } }
  News:
    Type: AWS::SQS::Queue
    Properties:
      FifoQueue: true
      DelaySeconds: 3
      VisibilityTimeout: 180
      RedrivePolicy: { deadLetterTargetArn: !GetAtt NewsDead.Arn, maxReceiveCount: 2 }
  NewsDead: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true } }
  Grouped:
    Type: AWS::SQS::Queue
    Properties: { FifoQueue: true, DeduplicationScope: messageGroup }
";

/// A fake whose clock the test sets.
struct Fixture {
    aws: FakeAws,
    now: Arc<AtomicU64>,
    dynamo: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
}

impl Fixture {
    fn new() -> Self {
        let now = Arc::new(AtomicU64::new(START));
        let clock = now.clone();
        let template = Template::parse(TEMPLATE).unwrap();
        let aws = FakeAws::new(&template, Arc::new(move || clock.load(Relaxed)));
        let config = aws.sdk_config();
        Self {
            dynamo: aws_sdk_dynamodb::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            now,
            aws,
        }
    }

    fn pass(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap();
        self.now.fetch_add(time, Relaxed);
    }

    fn url(&self, queue: &str) -> String {
        self.aws.queue(queue).url()
    }

    /// Visible, delayed and in flight.
    fn count(&self, queue: &str) -> usize {
        self.aws.queue(queue).peek().len()
    }

    fn open(&self, connection: &str) {
        let connections = self.aws.connections();
        connections.set_state(connection, ConnectionState::Open);
    }

    async fn delete(&self, id: &str) {
        let delete = self.dynamo.delete_item().table_name("Things");
        delete.set_key(Some(key(id))).send().await.unwrap();
    }
}

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

fn thing(id: &str, more: &[(&str, AttributeValue)]) -> Item {
    let key = [("pk", s(id)), ("sk", s("thing"))];
    let more = key.into_iter().chain(more.iter().cloned());
    more.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn key(id: &str) -> Item {
    thing(id, &[])
}

/// The error's code; an answer is a failure of the test.
#[track_caller]
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E>>) -> String {
    let error = answer.expect_err("it is refused");
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    code.unwrap_or("no service error").to_owned()
}

#[test]
fn a_template_is_read_with_its_references() {
    let template = Template::parse(TEMPLATE).unwrap();
    assert_eq!(
        template.table_ids().collect::<Vec<_>>(),
        ["Things", "Single"]
    );
    let queue = |id: &str| template.queues().iter().find(|it| it.id == id).unwrap();
    let redrive = |id: &str| {
        let policy = queue(id).redrive_policy.as_ref().unwrap();
        (policy.dead_letter_queue(), policy.max_receive_count)
    };
    assert_eq!(queue("News").delay_seconds, 3);
    assert_eq!(redrive("News"), ("NewsDead", 2));
    assert_eq!(redrive("Work"), ("WorkDead", 2));
    assert_eq!(queue("Work").visibility_timeout, Some(90));
    assert_eq!(queue("Grouped").deduplication_scope, "messageGroup");
}

#[test]
fn a_dead_letter_queue_is_of_its_queues_type() {
    for dead in ["NewsDead", "Nothing"] {
        let template = TEMPLATE.replace(
            "deadLetterTargetArn: !GetAtt WorkDead",
            &format!("deadLetterTargetArn: !GetAtt {dead}"),
        );
        let error = Template::parse(&template).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Work: its dead-letter queue is missing or of the other type"
        );
    }
}
