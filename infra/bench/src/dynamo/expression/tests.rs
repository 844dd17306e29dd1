use serde_json::{Value, json};

use super::*;

fn item(value: &Value) -> Item {
    value.as_object().unwrap().clone()
}

fn agent() -> Item {
    item(&json!({
        "pk": { "S": "AGENT#a" },
        "connection": { "M": { "id": { "S": "c1" }, "boundAt": { "N": "100" } } },
        "held": { "SS": ["t#1", "u#1"] },
        "capacity": { "N": "3" },
        "drainRequests": { "N": "4" },
    }))
}

fn holds(text: &str, request: &Value) -> bool {
    let condition = Condition::parse(text, Names::of(request)).unwrap();
    condition.holds(&agent())
}

fn updated(text: &str, request: &Value) -> Item {
    let update = Update::parse(text, Names::of(request)).unwrap();
    changed(&agent(), &update).unwrap()
}

#[test]
fn conditions_are_asked_of_nested_attributes_and_sets() {
    let request = json!({
        "ExpressionAttributeNames": { "#connection": "connection", "#id": "id", "#held": "held" },
        "ExpressionAttributeValues": { ":id": { "S": "c1" }, ":now": { "N": "99" } },
    });
    let all = [
        ("#connection.#id = :id", true),
        ("#connection.#id <> :id", false),
        ("#connection.boundAt <= :now", false),
        (
            "attribute_exists(pk) AND (attribute_not_exists(#connection) OR #connection.#id = :id)",
            true,
        ),
        ("size(#held) < capacity", true),
        ("NOT size(#held) < capacity", false),
        ("attribute_not_exists(statusAt) OR statusAt <= :now", true),
        ("statusAt <= :now", false),
        ("begins_with(pk, :id)", false),
        ("capacity BETWEEN :now AND :now", false),
        ("pk IN (:id, :now) OR contains(#held, :id)", false),
    ];
    for (text, expected) in all {
        assert_eq!(holds(text, &request), expected, "{text}");
    }
}

#[test]
fn an_item_that_is_not_there_satisfies_only_what_asks_for_that() {
    let request = json!({ "ExpressionAttributeValues": { ":v": { "N": "1" } } });
    let none = Item::new();
    let holds = |text| {
        Condition::parse(text, Names::of(&request))
            .unwrap()
            .holds(&none)
    };
    assert!(holds("attribute_not_exists(pk)"));
    assert!(!holds("version = :v") && !holds("version < :v"));
}

#[test]
fn updates_set_remove_add_and_delete() {
    let request = json!({
        "ExpressionAttributeNames": { "#held": "held", "#connection": "connection" },
        "ExpressionAttributeValues": {
            ":slot": { "SS": ["v#1"] }, ":gone": { "SS": ["t#1", "u#1"] }, ":one": { "N": "1" },
            ":now": { "N": "200" },
        },
    });
    let after = updated(
        "SET lastSeen = :now, capacity = if_not_exists(capacity, :now), \
         #connection.echoedAt = :now, n = drainRequests + :one REMOVE pk ADD #held :slot",
        &request,
    );
    assert_eq!(after["lastSeen"], json!({ "N": "200" }));
    assert_eq!(after["capacity"], json!({ "N": "3" }));
    assert_eq!(after["connection"]["M"]["echoedAt"], json!({ "N": "200" }));
    assert_eq!(after["n"], json!({ "N": "5" }));
    assert_eq!(after["held"], json!({ "SS": ["t#1", "u#1", "v#1"] }));
    assert!(!after.contains_key("pk"));
    let after = updated("ADD drainRequests :one DELETE #held :gone", &request);
    assert_eq!(after["drainRequests"], json!({ "N": "5" }));
    assert!(!after.contains_key("held"), "a set is never empty");
}

#[test]
fn a_list_is_begun_and_gone_on_with() {
    let request = json!({ "ExpressionAttributeValues": {
        ":more": { "L": [{ "N": "1" }] }, ":none": { "L": [] },
    } });
    let text = "SET outcomes = list_append(if_not_exists(outcomes, :none), :more)";
    let update = Update::parse(text, Names::of(&request)).unwrap();
    let once = changed(&agent(), &update).unwrap();
    let twice = changed(&once, &update).unwrap();
    assert_eq!(
        twice["outcomes"],
        json!({ "L": [{ "N": "1" }, { "N": "1" }] })
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    let request = json!({ "ExpressionAttributeValues": { ":v": { "N": "1" } } });
    for text in [
        "a[0] = :v",
        "a = :missing",
        "#a = :v",
        "a =",
        "f(a) = :v",
        "a = :v b = :v",
    ] {
        assert!(
            Condition::parse(text, Names::of(&request)).is_err(),
            "{text}"
        );
    }
    for text in ["SET a", "MOVE a", "SET a = :v REMOVE"] {
        assert!(Update::parse(text, Names::of(&request)).is_err(), "{text}");
    }
}
