//! A DynamoDB with an agent in it.

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use bematic::agent::{Agent, Binding};
use bematic::ports::Agents;
use bematic::task::TaskPolicy;
use bematic_aws::store::{AgentStore, TaskStore};
use bematic_bench::aws::Aws;
use bematic_bench::template::Template;
use bematic_protocol::ids::AgentId;
use bematic_protocol::time::Timestamp;
use xtask::Workspace;

pub(crate) struct Stored {
    pub(crate) aws: Aws,
    pub(crate) tasks: TaskStore,
    pub(crate) agents: AgentStore,
    pub(crate) policy: TaskPolicy,
}

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

pub(crate) fn agent() -> AgentId {
    "a".parse().unwrap()
}

impl Stored {
    /// The agent `a` on connection `c`.
    pub(crate) async fn new() -> Self {
        let template = Template::read(&Workspace::find().unwrap()).unwrap();
        let aws = Aws::start(&template).await.unwrap();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(aws.url())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::from_keys("bench", "bench", None))
            .load()
            .await;
        let client = aws_sdk_dynamodb::Client::new(&config);
        let agents = AgentStore::new(client.clone(), "AgentsTable".into());
        let roomy = Agent {
            capacity: 100,
            ..Agent::new(agent(), at(0))
        };
        let _ = agents.create(&roomy).await.unwrap();
        let binding = Binding::new("c".parse().unwrap(), at(0), None);
        let _ = agents.bind(&agent(), &binding).await.unwrap();
        Self {
            aws,
            tasks: TaskStore::new(client, "TasksTable".into(), "AgentsTable".into()),
            agents,
            policy: TaskPolicy::default(),
        }
    }
}
