//! What is around a call: counts, hooks, failures.

use std::sync::Mutex;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;

use super::*;
use crate::common::lock;

async fn put(it: &Fixture, id: &str) -> Result<(), String> {
    let put = it
        .dynamo
        .put_item()
        .table_name("Things")
        .set_item(Some(key(id)));
    match put.send().await {
        Ok(_) => Ok(()),
        Err(SdkError::DispatchFailure(_)) => Err("connection".into()),
        answer => Err(code(answer)),
    }
}

async fn send(it: &Fixture) -> Result<(), String> {
    let send = it
        .sqs
        .send_message()
        .queue_url(it.url("Work"))
        .message_body("a");
    let answer = send.send().await;
    if answer.is_ok() {
        Ok(())
    } else {
        Err(code(answer))
    }
}

#[tokio::test]
async fn the_nth_call_fails_once_before_its_effect_or_after() {
    for (when, kept) in [(FailurePoint::Before, 1), (FailurePoint::After, 2)] {
        let it = Fixture::new();
        it.aws.planned_failures().arm(1, when, Failure::Connection);
        assert_eq!(put(&it, "1").await, Ok(()));
        assert_eq!(put(&it, "2").await, Err("connection".into()));
        assert_eq!(it.aws.tables().items("Things").len(), kept);
        assert_eq!(put(&it, "3").await, Ok(()));
        assert!(it.aws.planned_failures().take_unused().is_empty());
        let calls = it.aws.calls().take();
        let errors: Vec<_> = calls.iter().map(|call| call.error.as_deref()).collect();
        assert_eq!(errors, [None, Some("InternalServerError"), None]);
    }
}

#[tokio::test]
async fn a_failure_that_no_call_used_is_told_and_disarmed() {
    let it = Fixture::new();
    it.aws
        .planned_failures()
        .arm(1, FailurePoint::Before, Failure::Internal);
    assert_eq!(put(&it, "1").await, Ok(()));
    assert_eq!(it.aws.planned_failures().take_unused(), [Failure::Internal]);
    assert_eq!(put(&it, "2").await, Ok(()));
}

#[tokio::test]
async fn each_service_fails_in_its_own_words() {
    let it = Fixture::new();
    it.open("c");
    let config = aws_sdk_apigatewaymanagement::config::Builder::from(&it.aws.sdk_config());
    let gateway = aws_sdk_apigatewaymanagement::Client::from_conf(config.build());
    for nth in 0..3 {
        // Each takes the first call after the one before it.
        let failures = it.aws.planned_failures();
        failures.arm(nth, FailurePoint::Before, Failure::Internal);
    }
    let post = gateway.post_to_connection().connection_id("c");
    let post = post.data(aws_sdk_apigatewaymanagement::primitives::Blob::new("x"));
    let codes = [
        put(&it, "1").await.unwrap_err(),
        send(&it).await.unwrap_err(),
        code(post.send().await),
    ];
    let expected = [
        "InternalServerError",
        "InternalFailure",
        "InternalServerErrorException",
    ];
    assert_eq!(codes, expected);
    assert_eq!(
        (it.aws.tables().items("Things").len(), it.count("Work")),
        (0, 0)
    );
    assert!(it.aws.connections().take_posts().is_empty());
}

#[tokio::test]
async fn a_failure_can_wait_for_calls_that_match() {
    let it = Fixture::new();
    let failures = it.aws.planned_failures();
    failures.arm_matching(1, FailurePoint::Before, Failure::Internal, |call| {
        call.service == Service::Sqs
    });
    assert_eq!(
        (put(&it, "1").await, send(&it).await, put(&it, "2").await),
        (Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(send(&it).await, Err("InternalFailure".into()));
}

#[tokio::test]
async fn a_transaction_conflict_cancels_at_its_part_and_waits_for_a_call_that_can_conflict() {
    let it = Fixture::new();
    let item = |id: &str| {
        let put = Put::builder()
            .table_name("Things")
            .set_item(Some(key(id)))
            .build()
            .unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let write = it
        .dynamo
        .transact_write_items()
        .transact_items(item("1"))
        .transact_items(item("2"));
    it.aws
        .planned_failures()
        .arm(0, FailurePoint::After, Failure::TransactionConflict(1));
    get(&it.dynamo).await;
    let error = write.clone().send().await.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(error) = error else {
        panic!("{error:?}")
    };
    let codes: Vec<_> = error
        .cancellation_reasons()
        .iter()
        .filter_map(|it| it.code())
        .collect();
    assert_eq!(codes, ["None", "TransactionConflict"]);
    assert!(
        it.aws.tables().items("Things").is_empty(),
        "a conflict has no effect"
    );
    it.aws
        .planned_failures()
        .arm(0, FailurePoint::Before, Failure::TransactionConflict(0));
    assert_eq!(
        put(&it, "1").await,
        Err("TransactionConflictException".into())
    );
    write.send().await.unwrap();
}

async fn get(dynamo: &aws_sdk_dynamodb::Client) {
    let read = dynamo.get_item().table_name("Things");
    read.set_key(Some(key("1"))).send().await.unwrap();
}

/// Writes down the calls, and refuses one operation.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl Hook for Notes {
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        lock(&self.0).push(format!("before {call}"));
        if call.operation == "SendMessage" {
            return Some((FailurePoint::After, Failure::Internal));
        }
        None
    }

    async fn after_call(&self, call: &Call) {
        let error = call.error.as_deref().unwrap_or("ok");
        lock(&self.0).push(format!("after {call}: {error}"));
    }
}

#[tokio::test]
async fn a_hook_is_told_of_every_call_that_is_observed() {
    let it = Fixture::new();
    let notes = Notes::default();
    it.aws.add_hook(notes.clone());
    put(&it, "1").await.unwrap();
    send(&it).await.unwrap_err();
    assert_eq!(it.count("Work"), 1, "it took effect");
    let quiet = aws_sdk_dynamodb::Client::new(&it.aws.unobserved().sdk_config());
    get(&quiet).await;
    let expected = [
        "before PutItem Things",
        "after PutItem Things: ok",
        "before SendMessage Work",
        "after SendMessage Work: InternalFailure",
    ];
    assert_eq!(*lock(&notes.0), expected);
    let calls = it.aws.calls();
    assert_eq!(calls.take().len(), 2);
    calls.set_recording(false);
    put(&it, "2").await.unwrap();
    assert!(calls.take().is_empty());
}

#[tokio::test]
async fn a_seed_says_how_tasks_interleave() {
    let order = async |seed: u64| {
        let it = Fixture::new();
        it.aws.add_hook(RandomYields::new(seed));
        let order = Mutex::new(String::new());
        let some = async |task: char| {
            for n in 0..4 {
                put(&it, &format!("{task}-{n}")).await.unwrap();
                lock(&order).push(task);
            }
        };
        tokio::join!(some('a'), some('b'), some('c'));
        order.into_inner().unwrap()
    };
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let once = Box::pin(order(seed)).await;
        assert_eq!(once, Box::pin(order(seed)).await, "{seed}");
        orders.insert(once);
    }
    assert_eq!(orders.len(), 8, "{orders:?}");
}

#[tokio::test]
async fn a_request_over_http_is_answered_too() {
    let it = Fixture::new();
    let request = http::Request::post("/")
        .header("X-Amz-Target", "DynamoDB_20120810.GetItem")
        .body(br#"{"TableName":"Things","Key":{"pk":{"S":"1"},"sk":{"S":"thing"}}}"#.to_vec());
    it.aws.tables().put("Things", &key("1"));
    let response = it.aws.handle(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/x-amz-json-1.0"
    );
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["Item"]["pk"]["S"], "1");
    it.open("c=");
    let request = http::Request::post("/some/where/@connections/c%3D").body(b"hello".to_vec());
    assert_eq!(it.aws.handle(request.unwrap()).await.unwrap().status(), 200);
    assert_eq!(
        it.aws.connections().take_posts(),
        [("c=".to_owned(), b"hello".to_vec())]
    );
    let unknown = http::Request::get("/").body(Vec::new());
    assert_eq!(it.aws.handle(unknown.unwrap()).await.unwrap().status(), 400);
}
