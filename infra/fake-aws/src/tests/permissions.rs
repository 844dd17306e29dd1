//! The permissions of labelled callers.

use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, KeysAndAttributes, PutRequest, Update, WriteRequest,
};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use super::*;

/// Takes the calls, each with its permissions in one line.
fn taken(it: &Fixture) -> Vec<String> {
    let calls = it.aws.calls().take().into_iter();
    let calls = calls.map(|call| {
        let permissions: Vec<_> = call.permissions.iter().map(ToString::to_string).collect();
        format!("{:?}: {}", call.caller, permissions.join(", "))
    });
    calls.collect()
}

#[tokio::test]
async fn a_transaction_needs_the_permissions_of_its_parts() {
    let it = Fixture::new();
    let dynamo = aws_sdk_dynamodb::Client::new(&it.aws.labelled("writer").sdk_config());
    let put = Put::builder().table_name("Things").set_item(Some(key("1")));
    let delete = Delete::builder().table_name("Single").key("id", s("1"));
    let update = Update::builder()
        .table_name("Things")
        .set_key(Some(key("2")))
        .update_expression("SET a = :a")
        .expression_attribute_values(":a", s("1"));
    let check = ConditionCheck::builder()
        .table_name("Things")
        .set_key(Some(key("3")))
        .condition_expression("attribute_not_exists(pk)");
    let part = TransactWriteItem::builder;
    let transaction = dynamo
        .transact_write_items()
        .transact_items(part().put(put.build().unwrap()).build())
        .transact_items(part().delete(delete.build().unwrap()).build())
        .transact_items(part().update(update.build().unwrap()).build())
        .transact_items(part().condition_check(check.build().unwrap()).build());
    transaction.send().await.unwrap();
    assert_eq!(
        taken(&it),
        ["Some(\"writer\"): dynamodb:ConditionCheckItem Things, \
          dynamodb:DeleteItem Single, dynamodb:PutItem Things, dynamodb:UpdateItem Things"]
    );
}

#[tokio::test]
async fn a_batch_needs_its_own_permission_on_each_table() {
    let it = Fixture::new();
    let dynamo = aws_sdk_dynamodb::Client::new(&it.aws.labelled("a").sdk_config());
    let wanted = |key| KeysAndAttributes::builder().keys(key).build().unwrap();
    let get = dynamo
        .batch_get_item()
        .request_items("Things", wanted(key("1")))
        .request_items("Single", wanted(Item::from([("id".into(), s("1"))])));
    get.send().await.unwrap();
    let put = PutRequest::builder().set_item(Some(key("1"))).build();
    let write = WriteRequest::builder().put_request(put.unwrap()).build();
    let write = dynamo
        .batch_write_item()
        .request_items("Things", vec![write]);
    write.send().await.unwrap();
    assert_eq!(
        taken(&it),
        [
            "Some(\"a\"): dynamodb:BatchGetItem Single, dynamodb:BatchGetItem Things",
            "Some(\"a\"): dynamodb:BatchWriteItem Things",
        ]
    );
}

#[tokio::test]
async fn a_query_needs_its_permission_on_the_table_or_the_index() {
    let it = Fixture::new();
    let dynamo = aws_sdk_dynamodb::Client::new(&it.aws.labelled("a").sdk_config());
    for (index, key) in [(None, "pk"), (Some("due"), "duePk")] {
        let query = dynamo
            .query()
            .table_name("Things")
            .set_index_name(index.map(str::to_owned))
            .key_condition_expression(format!("{key} = :key"))
            .expression_attribute_values(":key", s("1"));
        query.send().await.unwrap();
    }
    assert_eq!(
        taken(&it),
        [
            "Some(\"a\"): dynamodb:Query Things",
            "Some(\"a\"): dynamodb:Query Things/index/due",
        ]
    );
}

#[tokio::test]
async fn calls_to_queues_and_connections_need_permissions_too() {
    let it = Fixture::new();
    let config = it.aws.labelled("a").sdk_config();
    let sqs = aws_sdk_sqs::Client::new(&config);
    let entry = SendMessageBatchRequestEntry::builder()
        .id("1")
        .message_body("a");
    let send = sqs
        .send_message_batch()
        .queue_url(it.url("Work"))
        .entries(entry.build().unwrap());
    send.send().await.unwrap();
    let receive = sqs.receive_message().queue_url(it.url("Work"));
    receive.send().await.unwrap();
    let gateway = aws_sdk_apigatewaymanagement::Client::new(&config);
    let post = gateway.post_to_connection().connection_id("c");
    post.data(Vec::new().into()).send().await.unwrap_err();
    let close = gateway.delete_connection().connection_id("c");
    close.send().await.unwrap_err();
    assert_eq!(
        taken(&it),
        [
            "Some(\"a\"): sqs:SendMessage Work",
            "Some(\"a\"): sqs:ReceiveMessage Work",
            "Some(\"a\"): execute-api:ManageConnections POST/@connections/*",
            "Some(\"a\"): execute-api:ManageConnections DELETE/@connections/*",
        ]
    );
}

#[tokio::test]
async fn a_call_without_a_label_names_none() {
    let it = Fixture::new();
    let get = it.dynamo.get_item().table_name("Single").key("id", s("1"));
    get.send().await.unwrap();
    assert_eq!(taken(&it), ["None: "]);
}
