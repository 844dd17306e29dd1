//! The audit log on an in-memory DynamoDB.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::Client;
use bematic::{
    audit::{AuditActor, AuditFilter, AuditOutcome, AuditRecord},
    ports::AuditLog as _,
};
use bematic_aws::store::PeopleStore;
use bematic_protocol::{ids::UserId, time::Timestamp};
use fake_aws::{FakeAws, Item, Template};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// The partition of the time [`NOW`].
const PARTITION: &str = "AUDIT#655";

fn store() -> (FakeAws, PeopleStore) {
    let template = Template::parse(include_str!("../../../template.yaml")).unwrap();
    let aws = FakeAws::new(&template, Arc::new(|| NOW.as_millis()));
    let client = Client::new(&aws.sdk_config());
    let store = PeopleStore::new(client, "AgentsTable".to_owned());
    (aws, store)
}

fn item(of: &Value) -> Item {
    serde_dynamo::to_item(of).unwrap()
}

/// An item as the first version of the audit log stored it.
fn old_item() -> Value {
    json!({
        "pk": PARTITION, "sk": format!("{NOW}#command-1"), "expiresAt": 1_707_776_000,
        "at": NOW, "request": "command-1", "userId": "U1", "channelId": "C1", "action": "run",
        "task": "t", "outcome": "refused", "code": "NOT_ALLOWED", "security": true,
    })
}

fn old_record() -> AuditRecord {
    AuditRecord {
        at: NOW,
        request: "command-1".to_owned(),
        actor: AuditActor::Person {
            user_id: "U1".parse().unwrap(),
            channel_id: "C1".parse().unwrap(),
        },
        action: "run".to_owned(),
        task: Some("t".to_owned()),
        outcome: AuditOutcome::Refused,
        code: Some("NOT_ALLOWED".to_owned()),
        security: true,
    }
}

async fn newest(store: &PeopleStore, user_id: Option<UserId>) -> Vec<AuditRecord> {
    let filter = AuditFilter {
        user_id,
        since: NOW - Duration::from_hours(1),
        until: NOW + Duration::from_hours(1),
    };
    store.newest(&filter, 10).await.unwrap()
}

#[tokio::test]
async fn an_item_of_the_first_version_is_read_and_a_persons_record_is_still_stored_so() {
    let (aws, store) = store();
    aws.tables().put("AgentsTable", &item(&old_item()));
    assert_eq!(newest(&store, None).await, [old_record()]);
    let (aws, store) = self::store();
    let retention = Duration::from_hours(90 * 24);
    store.append(&old_record(), retention).await.unwrap();
    let stored = aws.tables().items("AgentsTable");
    assert_eq!(stored, [item(&old_item())]);
}

#[tokio::test]
async fn records_of_administrators_are_listed_but_not_as_those_of_a_person() {
    let (aws, store) = store();
    aws.tables().put("AgentsTable", &item(&old_item()));
    let administrator = AuditRecord {
        at: NOW + Duration::from_secs(1),
        actor: AuditActor::Administrator {
            machine: "ada@laptop".to_owned(),
            aws_identity: Some("arn:aws:iam::1:user/ada".to_owned()),
        },
        ..old_record()
    };
    let retention = Duration::from_hours(1);
    store.append(&administrator, retention).await.unwrap();
    assert_eq!(newest(&store, None).await, [administrator, old_record()]);
    let own = newest(&store, Some("U1".parse().unwrap())).await;
    assert_eq!(own, [old_record()]);
}
