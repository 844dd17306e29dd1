use serde_json::json;

use super::units::Shows;
use super::*;

fn dynamo() -> Dynamo {
    let mut dynamo = Dynamo::default();
    let due = Index {
        name: "due".into(),
        partition: "duePk".into(),
        sort: Some("dueSk".into()),
        shows: Shows::All,
    };
    dynamo.create("tasks", vec![due]);
    dynamo
}

fn put(dynamo: &mut Dynamo, sk: &str, due: Option<&str>) -> Done {
    let mut item = json!({ "pk": { "S": "TASK#1" }, "sk": { "S": sk }, "version": { "N": "1" } });
    if let Some(due) = due {
        item["duePk"] = json!({ "S": "DUE#0" });
        item["dueSk"] = json!({ "S": due });
    }
    let request = json!({ "TableName": "tasks", "Item": item });
    dynamo.call("PutItem", &request)
}

fn query(dynamo: &mut Dynamo, more: &Value) -> Done {
    let mut request = json!({
        "TableName": "tasks",
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
        "ExpressionAttributeValues": { ":pk": { "S": "TASK#1" }, ":sk": { "S": "STEP" } },
    });
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    dynamo.call("Query", &request)
}

fn sort_keys(done: &Done) -> Vec<String> {
    let items = done.body["Items"].as_array().unwrap().iter();
    items
        .map(|item| item["sk"]["S"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_was_put_is_got_at_its_price() {
    let mut dynamo = dynamo();
    assert_eq!(
        put(&mut dynamo, "TASK", Some("5")).units.write.to_bits(),
        2f64.to_bits()
    );
    let key = json!({ "pk": { "S": "TASK#1" }, "sk": { "S": "TASK" } });
    let get = json!({ "TableName": "tasks", "Key": key, "ConsistentRead": true });
    let done = dynamo.call("GetItem", &get);
    assert_eq!(done.body["Item"]["version"], json!({ "N": "1" }));
    assert_eq!(done.units.read.to_bits(), 1f64.to_bits());
    let touched: Vec<_> = done
        .touched
        .iter()
        .map(|it| (&*it.of, &*it.partition))
        .collect();
    assert_eq!(touched, [("tasks", "TASK#1")]);
}

#[test]
fn a_condition_that_fails_is_refused_and_shows_the_item_if_it_is_asked_for() {
    let mut dynamo = dynamo();
    put(&mut dynamo, "TASK", None);
    let item = json!({ "pk": { "S": "TASK#1" }, "sk": { "S": "TASK" } });
    let request = json!({
        "TableName": "tasks", "Item": item,
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    let done = dynamo.call("PutItem", &request);
    assert_eq!((done.status, done.fault), (400, None));
    let kind = done.body["__type"].as_str().unwrap();
    assert!(kind.ends_with("#ConditionalCheckFailedException"), "{kind}");
    assert_eq!(done.body["Item"]["version"], json!({ "N": "1" }));
    assert_eq!(
        done.units.write.to_bits(),
        1f64.to_bits(),
        "it is charged all the same"
    );
}

#[test]
fn a_transaction_writes_all_or_nothing() {
    let mut dynamo = dynamo();
    put(&mut dynamo, "TASK", None);
    let new = |sk: &str| {
        let item = json!({ "pk": { "S": "TASK#1" }, "sk": { "S": sk } });
        let condition = "attribute_not_exists(pk)";
        json!({ "Put": { "TableName": "tasks", "Item": item, "ConditionExpression": condition } })
    };
    let both = json!({ "TransactItems": [new("STEP#1"), new("TASK")] });
    let done = dynamo.call("TransactWriteItems", &both);
    let codes = &done.body["CancellationReasons"];
    assert_eq!(
        (&codes[0]["Code"], &codes[1]["Code"]),
        (&json!("None"), &json!("ConditionalCheckFailed"))
    );
    assert!(sort_keys(&query(&mut dynamo, &json!({}))).is_empty());
    let one = json!({ "TransactItems": [new("STEP#1")] });
    let done = dynamo.call("TransactWriteItems", &one);
    assert_eq!(
        (done.status, done.units.write.to_bits()),
        (200, 2f64.to_bits())
    );
    assert_eq!(sort_keys(&query(&mut dynamo, &json!({}))), ["STEP#1"]);
}

#[test]
fn a_check_in_a_transaction_says_which_it_was_writes_nothing_and_is_charged() {
    let mut dynamo = dynamo();
    put(&mut dynamo, "TASK", None);
    let check = |sk: &str| {
        let key = json!({ "pk": { "S": "TASK#1" }, "sk": { "S": sk } });
        let condition = "attribute_exists(pk)";
        json!({ "ConditionCheck": {
            "TableName": "tasks", "Key": key, "ConditionExpression": condition } })
    };
    let item = json!({ "pk": { "S": "TASK#1" }, "sk": { "S": "STEP#1" } });
    let new = json!({ "Put": { "TableName": "tasks", "Item": item } });
    let none = json!({ "TransactItems": [new, check("STEP#2")] });
    let done = dynamo.call("TransactWriteItems", &none);
    let codes = &done.body["CancellationReasons"];
    assert_eq!(
        (&codes[0]["Code"], &codes[1]["Code"]),
        (&json!("None"), &json!("ConditionalCheckFailed"))
    );
    let one = json!({ "TransactItems": [new, check("TASK")] });
    let done = dynamo.call("TransactWriteItems", &one);
    assert_eq!(
        (done.status, done.units.write.to_bits()),
        (200, 4f64.to_bits())
    );
    assert_eq!(sort_keys(&query(&mut dynamo, &json!({}))), ["STEP#1"]);
}

#[test]
fn a_query_goes_both_ways_page_by_page() {
    let mut dynamo = dynamo();
    for sk in ["STEP#2", "TASK", "STEP#1", "STEP#3"] {
        put(&mut dynamo, sk, None);
    }
    assert_eq!(
        sort_keys(&query(&mut dynamo, &json!({}))),
        ["STEP#1", "STEP#2", "STEP#3"]
    );
    let page = json!({ "ScanIndexForward": false, "Limit": 2 });
    let first = query(&mut dynamo, &page);
    assert_eq!(sort_keys(&first), ["STEP#3", "STEP#2"]);
    let mut next = page.clone();
    next["ExclusiveStartKey"] = first.body["LastEvaluatedKey"].clone();
    assert_eq!(sort_keys(&query(&mut dynamo, &next)), ["STEP#1"]);
}

#[test]
fn an_index_has_only_items_with_its_keys() {
    let mut dynamo = dynamo();
    put(&mut dynamo, "STEP#1", None);
    put(&mut dynamo, "STEP#2", Some("2"));
    put(&mut dynamo, "STEP#3", Some("1"));
    let due = json!({
        "IndexName": "due", "KeyConditionExpression": "duePk = :pk AND dueSk <= :at",
        "ExpressionAttributeValues": { ":pk": { "S": "DUE#0" }, ":at": { "S": "2" } },
    });
    assert_eq!(sort_keys(&query(&mut dynamo, &due)), ["STEP#3", "STEP#2"]);
}

#[test]
fn what_is_not_known_is_a_fault() {
    let mut dynamo = dynamo();
    assert!(dynamo.call("Scan", &json!({})).fault.is_some());
    let index = json!({ "IndexName": "other" });
    assert!(query(&mut dynamo, &index).fault.is_some());
    let elsewhere = json!({ "TableName": "other", "Key": {} });
    assert!(dynamo.call("GetItem", &elsewhere).fault.is_some());
}
