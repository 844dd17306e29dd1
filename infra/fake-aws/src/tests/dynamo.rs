//! Tables: what dynoxide is corrected in, what reads lag, and units.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    ConditionCheck, KeysAndAttributes, PutRequest, ReturnValuesOnConditionCheckFailure, Update,
    WriteRequest,
};

use super::*;

fn put(item: Item) -> Put {
    Put::builder()
        .table_name("Things")
        .set_item(Some(item))
        .build()
        .unwrap()
}

fn transact(put: Put) -> TransactWriteItem {
    TransactWriteItem::builder().put(put).build()
}

async fn put_thing(it: &Fixture, item: Item) {
    let put = it
        .dynamo
        .put_item()
        .table_name("Things")
        .set_item(Some(item));
    put.send().await.unwrap();
}

/// What the calls since the last time cost, of one call each.
fn units(it: &Fixture) -> Units {
    let calls = it.aws.calls().take();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls[0].units()
}

fn reads(read: f64) -> Units {
    Units { read, write: 0.0 }
}

fn writes(write: f64) -> Units {
    Units { read: 0.0, write }
}

fn metered() -> Fixture {
    let it = Fixture::new();
    it.aws.set_request_unit_metering(true);
    it
}

#[tokio::test]
async fn all_old_of_an_item_that_was_not_there_is_nothing() {
    let it = Fixture::new();
    let update = || {
        let update = it
            .dynamo
            .update_item()
            .table_name("Things")
            .set_key(Some(key("1")));
        let update = update
            .update_expression("SET title = :t")
            .return_values(ReturnValue::AllOld);
        update.expression_attribute_values(":t", s("a"))
    };
    assert_eq!(update().send().await.unwrap().attributes, None);
    let old = update().send().await.unwrap().attributes;
    assert_eq!(old, Some(thing("1", &[("title", s("a"))])));
}

#[tokio::test]
async fn a_cancelled_transaction_names_its_reasons_and_has_no_effect() {
    let it = Fixture::new();
    put_thing(&it, thing("1", &[("title", s("a"))])).await;
    let refused = Put::builder()
        .table_name("Things")
        .set_item(Some(thing("1", &[])))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let write = it
        .dynamo
        .transact_write_items()
        .transact_items(transact(put(key("2"))))
        .transact_items(transact(refused.build().unwrap()));
    let error = write.clone().send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(error) = error else {
        panic!("{error:?}");
    };
    let reasons = error.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().filter_map(|it| it.code()).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    assert_eq!(reasons[1].item(), Some(&thing("1", &[("title", s("a"))])));
    assert_eq!(it.aws.tables().items("Things").len(), 1, "all or nothing");
    it.delete("1").await;
    write.send().await.unwrap();
    assert_eq!(it.aws.tables().items("Things").len(), 2);
}

#[tokio::test]
async fn a_batch_of_writes_has_25_at_most() {
    let it = Fixture::new();
    let batch = |count: usize| {
        let write = |n: usize| {
            let put = PutRequest::builder()
                .set_item(Some(key(&n.to_string())))
                .build()
                .unwrap();
            WriteRequest::builder().put_request(put).build()
        };
        it.dynamo
            .batch_write_item()
            .request_items("Things", (0..count).map(write).collect())
    };
    assert_eq!(code(batch(26).send().await), "ValidationException");
    let answer = batch(25).send().await.unwrap();
    assert!(
        answer
            .unprocessed_items()
            .is_none_or(std::collections::HashMap::is_empty)
    );
    assert_eq!(it.aws.tables().items("Things").len(), 25);
    let calls = it.aws.calls().take();
    assert_eq!(
        (calls[1].items, calls[1].to_string().as_str()),
        (25, "BatchWriteItem Things")
    );
}

#[tokio::test]
async fn what_dynamodb_refuses_is_refused() {
    let it = Fixture::new();
    let update = |expression: &str| {
        let update = it
            .dynamo
            .update_item()
            .table_name("Things")
            .set_key(Some(key("1")));
        update
            .update_expression(expression)
            .expression_attribute_values(":v", s("x"))
            .send()
    };
    // A reserved word, an unused value, a key, overlapping paths.
    for expression in [
        "SET status = :v",
        "REMOVE title",
        "SET sk = :v",
        "SET a = :v, a.b = :v",
    ] {
        assert_eq!(
            code(update(expression).await),
            "ValidationException",
            "{expression}"
        );
    }
    let redundant = it
        .dynamo
        .delete_item()
        .table_name("Things")
        .set_key(Some(key("1")));
    let redundant = redundant.condition_expression("((attribute_exists(pk)))");
    assert_eq!(code(redundant.send().await), "ValidationException");
    let put = |item: Item| {
        it.dynamo
            .put_item()
            .table_name("Things")
            .set_item(Some(item))
            .send()
    };
    for wrong in [
        ("duePk", s("")),
        ("duePk", n(1)),
        ("set", AttributeValue::Ss(vec![])),
        ("set", AttributeValue::Ss(vec!["a".into(), "a".into()])),
        ("large", s("x".repeat(400 * 1024))),
    ] {
        let answer = put(thing("1", std::slice::from_ref(&wrong))).await;
        assert_eq!(code(answer), "ValidationException", "{}", wrong.0);
    }
    let consistent = it
        .dynamo
        .query()
        .table_name("Things")
        .index_name("due")
        .consistent_read(true);
    let consistent = consistent
        .key_condition_expression("duePk = :v")
        .expression_attribute_values(":v", s("x"));
    assert_eq!(code(consistent.send().await), "ValidationException");
    let twice = it
        .dynamo
        .transact_write_items()
        .transact_items(transact(self::put(key("1"))));
    let twice = twice.transact_items(transact(self::put(key("1"))));
    assert_eq!(code(twice.send().await), "ValidationException");
    let mut many = it.dynamo.transact_write_items();
    for n in 0..101 {
        many = many.transact_items(transact(self::put(key(&n.to_string()))));
    }
    assert_eq!(code(many.send().await), "ValidationException");
    let keys = KeysAndAttributes::builder()
        .keys(key("1"))
        .keys(key("1"))
        .build()
        .unwrap();
    let twice = it.dynamo.batch_get_item().request_items("Things", keys);
    assert_eq!(code(twice.send().await), "ValidationException");
    let unknown = it
        .dynamo
        .get_item()
        .table_name("Nothing")
        .set_key(Some(key("1")));
    assert_eq!(code(unknown.send().await), "ResourceNotFoundException");
    assert!(it.aws.tables().items("Things").is_empty());
}

#[tokio::test]
async fn numbers_are_exact_to_38_digits() {
    let it = Fixture::new();
    put_thing(
        &it,
        thing(
            "1",
            &[(
                "n",
                n(12_345_678_901_234_567_890_123_456_789_012_345_678_i128),
            )],
        ),
    )
    .await;
    let add = it
        .dynamo
        .update_item()
        .table_name("Things")
        .set_key(Some(key("1")));
    let add = add
        .update_expression("SET n = n - :one")
        .expression_attribute_values(":one", n(1));
    add.send().await.unwrap();
    let item = it.aws.tables().item("Things", &["1", "thing"]).unwrap();
    assert_eq!(
        item["n"],
        n(12_345_678_901_234_567_890_123_456_789_012_345_677_i128)
    );
}

#[tokio::test]
async fn eventually_consistent_reads_lag_while_they_are_frozen() {
    let it = Fixture::new();
    let due = [("duePk", s("DUE")), ("dueSk", s("1"))];
    put_thing(&it, thing("old", &due)).await;
    let on_index = async || {
        let query = it.dynamo.query().table_name("Things").index_name("due");
        let query = query
            .key_condition_expression("duePk = :due")
            .expression_attribute_values(":due", s("DUE"));
        query.send().await.unwrap().count()
    };
    let got = async |consistent: bool| {
        let get = it
            .dynamo
            .get_item()
            .table_name("Things")
            .set_key(Some(key("new")));
        get.consistent_read(consistent)
            .send()
            .await
            .unwrap()
            .item
            .is_some()
    };
    let batch_got = async || {
        let keys = KeysAndAttributes::builder()
            .keys(key("new"))
            .build()
            .unwrap();
        let batch = it.dynamo.batch_get_item().request_items("Things", keys);
        batch.send().await.unwrap().responses.unwrap()["Things"].len()
    };
    it.aws.tables().freeze_eventual_reads();
    put_thing(&it, thing("new", &due)).await;
    assert_eq!(
        (on_index().await, got(false).await, batch_got().await),
        (1, false, 0)
    );
    assert!(got(true).await, "a consistent read shows the present");
    it.aws.tables().thaw_reads();
    assert_eq!(
        (on_index().await, got(false).await, batch_got().await),
        (2, true, 1)
    );
}

#[tokio::test]
async fn a_read_costs_a_unit_for_4_kb_and_half_if_it_is_eventual() {
    let it = metered();
    let large = "x".repeat(4096);
    it.aws
        .tables()
        .put("Things", &thing("large", &[("text", s(large))]));
    it.aws.tables().put("Things", &thing("small", &[]));
    let get = async |id: &str, consistent: bool| {
        let get = it
            .dynamo
            .get_item()
            .table_name("Things")
            .set_key(Some(key(id)));
        // What is projected does not count.
        get.projection_expression("pk")
            .consistent_read(consistent)
            .send()
            .await
            .unwrap();
        units(&it).read
    };
    for (id, consistent, expected) in [
        ("large", true, 2.0),
        ("large", false, 1.0),
        ("small", true, 1.0),
        ("small", false, 0.5),
        ("absent", true, 1.0),
        ("absent", false, 0.5),
    ] {
        let read = get(id, consistent).await;
        assert!(
            (read - expected).abs() < f64::EPSILON,
            "{id} {consistent}: {read}"
        );
    }
    let keys = KeysAndAttributes::builder()
        .keys(key("large"))
        .keys(key("absent"))
        .build()
        .unwrap();
    it.dynamo
        .batch_get_item()
        .request_items("Things", keys)
        .send()
        .await
        .unwrap();
    assert_eq!(units(&it), reads(1.5));
}

#[tokio::test]
async fn a_query_costs_what_it_reads_together_and_names_its_partition() {
    let it = metered();
    for n in 0..3 {
        let text = s("x".repeat(3000));
        it.aws.tables().put(
            "Things",
            &thing(
                &n.to_string(),
                &[
                    ("text", text),
                    ("duePk", s("DUE#1")),
                    ("dueSk", s(n.to_string())),
                ],
            ),
        );
    }
    let query = |index: &str| {
        let query = it.dynamo.query().table_name("Things").index_name(index);
        let query = query
            .key_condition_expression("(#p = :due)")
            .expression_attribute_names("#p", "duePk");
        query.expression_attribute_values(":due", s("DUE#1"))
    };
    query("all").send().await.unwrap();
    let calls = it.aws.calls().take();
    // 9 KB and something are 3 units, half of which is eventual.
    let access = PartitionAccess {
        resource: "Things/all".into(),
        partition: "DUE#1".into(),
        units: reads(1.5),
    };
    assert_eq!(calls[0].partition_accesses, [access]);
    assert_eq!(calls[0].to_string(), "Query Things/all");
    let told = query("due").return_consumed_capacity(ReturnConsumedCapacity::Total);
    let told = told.send().await.unwrap().consumed_capacity.unwrap();
    assert_eq!(
        told.capacity_units(),
        Some(0.5),
        "the index projects no text"
    );
    assert_eq!(units(&it), reads(0.5));
}

#[tokio::test]
async fn a_write_costs_a_unit_for_1_kb_of_the_larger_image_and_its_indexes() {
    let it = metered();
    let text = |bytes: usize| ("text", s("x".repeat(bytes)));
    let due = |sk: &str| [("duePk", s("DUE#1")), ("dueSk", s(sk))];
    let put = async |item: Item| {
        put_thing(&it, item).await;
        units(&it).write
    };
    let cases = [
        (thing("1", &[]), 1.0, "the least"),
        (thing("1", &[text(1500)]), 2.0, "the larger one, after"),
        (thing("1", &[]), 2.0, "the larger one, before"),
        (thing("1", &due("1")), 3.0, "it enters two indexes"),
        (
            thing("1", &[due("1").to_vec(), vec![text(10)]].concat()),
            2.0,
            "one index shows the text",
        ),
        (
            thing("1", &[due("2").to_vec(), vec![text(10)]].concat()),
            4.0,
            "it moves in one, and changes in the other",
        ),
        (thing("1", &[text(10)]), 3.0, "it leaves both"),
    ];
    for (item, expected, why) in cases {
        let written = put(item).await;
        assert!(
            (written - expected).abs() < f64::EPSILON,
            "{why}: {written}"
        );
    }
    put(thing("1", &due("1"))).await;
    let delete = it
        .dynamo
        .delete_item()
        .table_name("Things")
        .set_key(Some(key("1")));
    delete.clone().send().await.unwrap();
    let calls = it.aws.calls().take();
    let touched: Vec<_> = calls[0]
        .partition_accesses
        .iter()
        .map(|it| (it.resource.as_str(), it.partition.as_str()))
        .collect();
    assert_eq!(
        touched,
        [
            ("Things", "1"),
            ("Things/due", "DUE#1"),
            ("Things/all", "DUE#1")
        ]
    );
    delete.send().await.unwrap();
    assert_eq!(units(&it), writes(1.0), "nothing was there");
}

#[tokio::test]
async fn a_transaction_doubles_the_table_and_not_the_indexes() {
    let it = metered();
    it.aws
        .tables()
        .put("Things", &thing("check", &[("text", s("x".repeat(1500)))]));
    let due = thing("1", &[("duePk", s("DUE#1")), ("dueSk", s("1"))]);
    let check = ConditionCheck::builder()
        .table_name("Things")
        .set_key(Some(key("check")))
        .condition_expression("attribute_exists(pk)")
        .build()
        .unwrap();
    let write = it.dynamo.transact_write_items();
    let write = write.transact_items(transact(put(due)));
    let write = write.transact_items(TransactWriteItem::builder().condition_check(check).build());
    write.send().await.unwrap();
    assert_eq!(units(&it), writes(2.0 + 2.0 + 4.0));
}

#[tokio::test]
async fn what_fails_its_condition_is_charged_and_what_is_invalid_is_not() {
    let it = metered();
    it.aws
        .tables()
        .put("Things", &thing("1", &[("text", s("x".repeat(2500)))]));
    let update = |id: &str, condition: &str| {
        let update = it
            .dynamo
            .update_item()
            .table_name("Things")
            .set_key(Some(key(id)));
        let update = update
            .update_expression("SET title = :t")
            .condition_expression(condition);
        update.expression_attribute_values(":t", s("a")).send()
    };
    assert_eq!(
        code(update("1", "attribute_not_exists(pk)").await),
        "ConditionalCheckFailedException"
    );
    assert_eq!(units(&it), writes(3.0));
    assert_eq!(
        code(update("2", "attribute_exists(pk)").await),
        "ConditionalCheckFailedException"
    );
    assert_eq!(units(&it), writes(1.0));
    assert_eq!(code(update("1", "nonsense").await), "ValidationException");
    assert_eq!(units(&it), Units::default());
    let refused = Update::builder()
        .table_name("Things")
        .set_key(Some(key("1")))
        .update_expression("REMOVE title");
    let refused = refused
        .condition_expression("attribute_not_exists(pk)")
        .build()
        .unwrap();
    let write = it
        .dynamo
        .transact_write_items()
        .transact_items(TransactWriteItem::builder().update(refused).build());
    let write = write.transact_items(transact(put(key("2"))));
    assert_eq!(code(write.send().await), "TransactionCanceledException");
    assert_eq!(units(&it), writes(6.0 + 2.0));
}

/// What is counted here is what dynoxide counts, which its authors hold against AWS.
#[tokio::test]
async fn units_are_what_the_database_reports() {
    let it = metered();
    let texts = [0, 900, 1100, 3000];
    let dues = [None, Some("1"), Some("2")];
    let images = texts.iter().flat_map(|bytes| {
        dues.map(|due| {
            let mut item = thing(
                "1",
                &[
                    ("text", s("x".repeat(*bytes))),
                    ("title", s("x".repeat(bytes / 2))),
                ],
            );
            for (name, value) in [("duePk", "DUE"), ("dueSk", due.unwrap_or_default())] {
                if due.is_some() {
                    item.insert(name.into(), s(value));
                }
            }
            item
        })
    });
    let images: Vec<_> = images.collect();
    for (before, after) in images
        .iter()
        .flat_map(|a| images.iter().map(move |b| (a, b)))
    {
        it.aws.tables().put("Things", before);
        let put = it
            .dynamo
            .put_item()
            .table_name("Things")
            .set_item(Some(after.clone()));
        let told = put
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await
            .unwrap();
        let told = told.consumed_capacity.unwrap().capacity_units.unwrap();
        assert_eq!(units(&it), writes(told));
        it.aws.tables().put("Things", before);
        let delete = Delete::builder()
            .table_name("Things")
            .set_key(Some(key("1")))
            .build()
            .unwrap();
        let delete = TransactWriteItem::builder().delete(delete).build();
        let write = it.dynamo.transact_write_items().transact_items(delete);
        let told = write
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .unwrap();
        assert_eq!(
            units(&it),
            writes(told.consumed_capacity()[0].capacity_units.unwrap())
        );
    }
}

#[tokio::test]
async fn unmetered_calls_tell_no_units() {
    let it = Fixture::new();
    put_thing(&it, key("1")).await;
    assert_eq!(units(&it), Units::default());
}

#[tokio::test]
async fn every_type_of_value_comes_back_as_it_was() {
    let it = Fixture::new();
    let blob = || aws_sdk_dynamodb::primitives::Blob::new([1, 2, 255]);
    let values = [
        ("b", AttributeValue::B(blob())),
        ("bool", AttributeValue::Bool(false)),
        ("null", AttributeValue::Null(true)),
        ("ss", AttributeValue::Ss(vec!["a".into(), "b".into()])),
        ("ns", AttributeValue::Ns(vec!["1".into(), "2".into()])),
        ("bs", AttributeValue::Bs(vec![blob()])),
        ("l", AttributeValue::L(vec![s("x"), n(1)])),
        (
            "m",
            AttributeValue::M(HashMap::from([("k".to_owned(), s("v"))])),
        ),
    ];
    let item = thing("1", &values);
    it.aws.tables().put("Things", &item);
    let get = it
        .dynamo
        .get_item()
        .table_name("Things")
        .set_key(Some(key("1")));
    assert_eq!(get.send().await.unwrap().item, Some(item.clone()));
    assert_eq!(it.aws.tables().items("Things"), [item]);
}
