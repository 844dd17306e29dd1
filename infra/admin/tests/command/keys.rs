//! The keys of agents: issued, rotated, listed and revoked, on the production stores and a fake
//! AWS.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use bematic::agent::{ApiKey, Binding};
use bematic::audit::AuditRetention;
use bematic::ports::{Agents as _, ApiKeys as _, BindOutcome, Connections as _, DispatchMessage};
use bematic_admin::{Admin, Deployment, IssuedKey, Tables};
use bematic_aws::store::{AgentStore, KeyStore};
use bematic_protocol::ids::{AgentId, ConnectionId};
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use fake_aws::{ConnectionState, Failure, FailurePoint, FakeAws, Template};

const HOUR: Duration = Duration::from_hours(1);

struct Administered {
    aws: FakeAws,
    admin: Admin,
    agents: AgentStore,
    keys: KeyStore,
}

impl Administered {
    fn new() -> Self {
        let template = Template::parse(include_str!("../../../../template.yaml")).unwrap();
        let aws = FakeAws::new(&template, Arc::new(|| SystemClock.now().as_millis()));
        let config = aws.sdk_config();
        let client = Client::new(&config);
        let [tasks, agents, keys] = ["TasksTable", "AgentsTable", "KeysTable"].map(str::to_owned);
        let url = |name: &str| (name.to_owned(), aws.queue("DispatchQueue").url());
        Self {
            agents: AgentStore::new(client.clone(), agents.clone()),
            keys: KeyStore::new(client, Some(keys.clone()), agents.clone()),
            admin: Admin::new(Deployment {
                config,
                tables: Tables {
                    tasks,
                    agents,
                    keys,
                },
                queues: [url("dispatch")].into(),
                management_url: Some("http://management.invalid/stage".to_owned()),
                audit_retention: AuditRetention::default(),
            }),
            aws,
        }
    }

    /// Opens a connection and binds it with the key.
    async fn connect(&self, name: &str, issued: &IssuedKey) {
        self.aws
            .connections()
            .set_state(name, ConnectionState::Open);
        let binding = Binding {
            key_id: Some(issued.key_id.clone()),
            ..Binding::new(connection(name), SystemClock.now(), None)
        };
        let bound = self.agents.bind(&agent(), &binding).await.unwrap();
        assert_eq!(bound, BindOutcome::Current { replaced: None });
    }

    async fn is_valid(&self, issued: &IssuedKey, at: Timestamp) -> bool {
        let hash = issued.api_key.parse::<ApiKey>().unwrap().hash();
        assert_eq!(hash.key_id(), issued.key_id);
        let valid = self.keys.has_valid_key(&agent(), &hash, at).await;
        valid.unwrap()
    }

    async fn is_connected(&self) -> bool {
        let found = self.agents.find(&agent()).await.unwrap();
        found.unwrap().connection.is_some()
    }

    /// Revokes the key.
    async fn revoke(&self, issued: &IssuedKey) -> anyhow::Result<bematic_admin::RevokedKeys> {
        let prefix = issued.key_id.as_str().parse().unwrap();
        self.admin.revoke_keys(&agent(), Some(&prefix)).await
    }
}

fn agent() -> AgentId {
    "build-box".parse().unwrap()
}

fn connection(name: &str) -> ConnectionId {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_rotation_issues_a_key_and_ends_the_others_after_the_overlap() {
    let stack = Administered::new();
    let old = stack.admin.create_agent(agent(), false).await.unwrap();
    let before = SystemClock.now();
    let new = stack.admin.rotate_keys(&agent(), HOUR).await.unwrap();
    let after = SystemClock.now();
    assert!(
        stack
            .is_valid(&old, before + HOUR - Duration::from_millis(1))
            .await
    );
    assert!(!stack.is_valid(&old, after + HOUR).await);
    assert!(stack.is_valid(&new, after + HOUR).await);
    let keys = stack.admin.list_keys(&agent()).await.unwrap();
    let shown: Vec<_> = keys
        .iter()
        .map(|key| (&key.key_id, key.valid_until.is_some()))
        .collect();
    assert_eq!(shown, [(&old.key_id, true), (&new.key_id, false)]);
    let until = keys[0].valid_until;
    // A second rotation gives the first key no more time.
    stack.admin.rotate_keys(&agent(), HOUR * 2).await.unwrap();
    let keys = stack.admin.list_keys(&agent()).await.unwrap();
    assert_eq!((keys.len(), keys[0].valid_until), (3, until));
    assert!(keys[1].valid_until > until && keys[2].valid_until.is_none());
    let nobody = "nobody".parse().unwrap();
    let error = stack.admin.rotate_keys(&nobody, HOUR).await.unwrap_err();
    assert!(error.to_string().contains("no agent nobody"), "{error}");
}

#[tokio::test]
async fn the_last_use_of_each_key_is_listed() {
    let stack = Administered::new();
    let first = stack.admin.create_agent(agent(), false).await.unwrap();
    stack.admin.create_agent(agent(), true).await.unwrap();
    stack.connect("c", &first).await;
    let keys = stack.admin.list_keys(&agent()).await.unwrap();
    let used: Vec<_> = keys.iter().map(|key| key.last_used_at.is_some()).collect();
    let expected = keys.iter().map(|key| key.key_id == first.key_id);
    assert_eq!(used, expected.collect::<Vec<_>>());
    assert!(used.contains(&true) && used.contains(&false));
}

#[tokio::test]
async fn revoking_one_key_closes_the_connection_that_was_opened_with_it() {
    let stack = Administered::new();
    let used = stack.admin.create_agent(agent(), false).await.unwrap();
    let other = stack.admin.create_agent(agent(), true).await.unwrap();
    stack.connect("c", &used).await;
    let revoked = stack.revoke(&other).await.unwrap();
    assert_eq!((revoked.keys, revoked.connection), (1, None));
    assert!(stack.is_connected().await);
    let other = stack.admin.create_agent(agent(), true).await.unwrap();
    let revoked = stack.revoke(&used).await.unwrap();
    assert_eq!(revoked.key_ids, std::slice::from_ref(&used.key_id));
    assert_eq!(revoked.connection, Some(connection("c")));
    assert_eq!(revoked.not_closed_yet, None);
    assert_eq!(stack.aws.connections().take_deleted(), ["c"]);
    assert!(!stack.is_connected().await);
    let now = SystemClock.now();
    assert!(!stack.is_valid(&used, now).await && stack.is_valid(&other, now).await);
    let error = stack.revoke(&used).await.unwrap_err();
    assert!(error.to_string().contains("no key begins with"), "{error}");
}

#[tokio::test]
async fn revoking_all_keys_of_an_agent_that_is_gone_is_no_error() {
    let stack = Administered::new();
    let issued = stack.admin.create_agent(agent(), false).await.unwrap();
    stack.connect("c", &issued).await;
    stack
        .aws
        .connections()
        .set_state("c", ConnectionState::Gone);
    let revoked = stack.admin.revoke_keys(&agent(), None).await.unwrap();
    assert_eq!(revoked.keys, 1);
    let again = stack.admin.revoke_keys(&agent(), None).await.unwrap();
    assert_eq!((again.keys, again.connection), (0, None));
}

#[tokio::test]
async fn a_connection_that_cannot_be_closed_is_left_to_the_dispatcher() {
    let stack = Administered::new();
    let issued = stack.admin.create_agent(agent(), false).await.unwrap();
    stack.connect("c", &issued).await;
    let closes = |call: &fake_aws::Call| call.operation == "DeleteConnection";
    let failures = stack.aws.planned_failures();
    failures.arm_matching(0, FailurePoint::Before, Failure::Internal, closes);
    let revoked = stack.revoke(&issued).await.unwrap();
    assert_eq!(revoked.connection, Some(connection("c")));
    assert!(revoked.not_closed_yet.is_some());
    assert!(!stack.is_connected().await);
    assert!(!stack.is_valid(&issued, SystemClock.now()).await);
    let messages = stack.aws.queue("DispatchQueue").peek();
    let [message] = &messages[..] else {
        panic!("{messages:?}");
    };
    let close = DispatchMessage::CloseConnection {
        connection_id: connection("c"),
        agent_id: agent(),
    };
    let sent: DispatchMessage = serde_json::from_str(&message.body).unwrap();
    assert_eq!(sent, close);
}

#[tokio::test]
async fn a_connection_that_nobody_closes_is_reported_and_unbound_all_the_same() {
    let stack = Administered::new();
    let issued = stack.admin.create_agent(agent(), false).await.unwrap();
    stack.connect("c", &issued).await;
    for operation in ["DeleteConnection", "SendMessage"] {
        let matches = move |call: &fake_aws::Call| call.operation == operation;
        let failures = stack.aws.planned_failures();
        failures.arm_matching(0, FailurePoint::Before, Failure::Internal, matches);
    }
    let error = stack.revoke(&issued).await.unwrap_err().to_string();
    assert!(error.contains("the keys are revoked"), "{error}");
    assert!(error.contains("connection c"), "{error}");
    assert!(!stack.is_connected().await);
    assert!(!stack.is_valid(&issued, SystemClock.now()).await);
}
