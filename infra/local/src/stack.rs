//! A running stack: its parts, started in order.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use bematic::agent::Route;
use bematic_admin::{
    Admin, AuditDays, Deployment, LocalStackFile, MANAGEMENT_URL_OUTPUT, NewProject, Tables,
};
use bematic_protocol::ids::AgentId;
use clap::Args;
use local_slack::{APP_ID, Config, OPERATIONS_CHANNEL_ID, Server, TEAM_ID};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use xtask::Workspace;

use crate::build;
use crate::edge::{ConnectionTimeLimits, Edge, Emulator, Throttles};
use crate::emulator::{self, AccessKey, REGION, random_hex};
use crate::run::run_command;
use crate::session::{Session, with_claimed_folder};
pub use crate::stack_file::StackFile;
use crate::stack_file::write_private;
use crate::ui::Ui;

/// The name of the CloudFormation stack.
pub const STACK_NAME: &str = "bematic";

/// The function that authorizes handshakes.
const AUTHORIZER: &str = "bematic-ws-authorizer";

/// The agent that every local stack has.
const SAMPLE_AGENT_ID: &str = "sample-agent";

/// Parameters of the template, by name.
pub(crate) type Parameters = &'static [(&'static str, &'static str)];

/// The parameters that the end-to-end tests are made for: deadlines that end while a test waits, and that a busy
/// machine still keeps. Tests set the lease by project.
pub(crate) const TEST_PARAMETERS: Parameters = &[
    ("BreakerConsecutiveFailures", "0"),
    ("BreakerRecoverySeconds", "8"),
    ("TaskAckSeconds", "15"),
    ("TaskAttempts", "3"),
    ("TaskCancelSeconds", "10"),
    ("TaskWaitSeconds", "75"),
];

// The settings of a stack. (A doc comment would become the help text of the command that has them.)
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Settings {
    /// Port of AWS, where agents connect too; a free one by default.
    #[arg(
        long,
        visible_alias = "ws-port",
        default_value_t = 0,
        hide_default_value = true
    )]
    port: u16,
    /// Port of the local Slack; a free one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    slack_port: u16,
    #[arg(skip)]
    pub(crate) limits: ConnectionTimeLimits,
    /// Parameters of the template, besides those that make it local.
    #[arg(skip)]
    pub(crate) parameters: Parameters,
}

impl Settings {
    pub(crate) fn with_parameters(parameters: Parameters) -> Self {
        Self {
            parameters,
            ..Self::default()
        }
    }
}

pub(crate) struct Stack {
    pub(crate) file: StackFile,
    pub(crate) slack: Server,
    /// The proxy in front of the emulator.
    pub(crate) edge: Edge,
    /// The folder of the emulator's socket, which is removed with the stack.
    _folder: TempDir,
}

/// Starts a stack in `folder`, does `work`, and ends the stack.
pub(crate) async fn with_stack<T>(
    workspace: &Workspace,
    ui: &Ui,
    folder: &str,
    settings: Settings,
    work: impl AsyncFnOnce(&mut Session<'_>, &Stack) -> Result<T>,
) -> Result<T> {
    with_claimed_folder(workspace, ui, folder, async |session| {
        let stack = Box::pin(Stack::start(session, settings)).await?;
        let outcome = work(session, &stack).await;
        stack.edge.shutdown().await;
        stack.slack.shutdown().await;
        outcome
    })
    .await
}

impl Stack {
    /// Starts the local Slack, the edge and the emulator, deploys the template, and creates an agent
    /// with a project, so that tasks can run. The functions must have been built.
    async fn start(session: &mut Session<'_>, settings: Settings) -> Result<Self> {
        build::install_functions(session.workspace)?;
        let signing_secret = random_hex::<16>()?;
        let bot_token = format!("xoxb-local-{}", random_hex::<16>()?);
        let config = Config {
            port: settings.slack_port,
            knows_everybody: true,
            ..Config::new(&signing_secret, &bot_token)
        };
        let empty = "the local Slack is empty";
        let channel_id = config.channels.first().context(empty)?.id.clone();
        let admin_user_id = config.users.first().context(empty)?.id.clone();
        let slack = Server::start(config)
            .await
            .context("the local Slack did not start")?;
        let key = AccessKey::random()?;
        let folder = create_private_folder()?;
        let emulator = Emulator {
            socket: folder.path().join("aws"),
            access_key_id: key.id.clone(),
            authorizer: AUTHORIZER.to_owned(),
        };
        let socket = emulator.socket.clone();
        let throttles = read_throttles(session.workspace)?;
        let edge = Edge::start(settings.port, emulator, settings.limits, throttles).await?;
        let aws_endpoint = edge.endpoint();
        emulator::start(session, &socket, edge.port(), &key).await?;
        let (slack_api_url, execute_api) = (slack.api_url(), edge.execute_api_address());
        let local = [
            ("FirstAdmins", admin_user_id.as_str()),
            ("LocalExecuteApi", execute_api.as_str()),
            ("LogLevel", "INFO"),
            ("OperationsChannel", OPERATIONS_CHANNEL_ID),
            ("SlackApiUrl", slack_api_url.as_str()),
            ("SlackAppId", APP_ID),
            ("SlackBotToken", bot_token.as_str()),
            ("SlackSigningSecret", signing_secret.as_str()),
            ("SlackTeamId", TEAM_ID),
        ];
        let parameters = local.iter().chain(settings.parameters).copied();
        let parameters = parameters.collect();
        deploy(session, folder.path(), parameters, &aws_endpoint, &key).await?;
        let (access_key_id, secret_access_key) =
            (key.id.expose_secret(), key.secret.expose_secret());
        let config = bematic_admin::local_sdk_config(
            aws_endpoint.clone(),
            REGION,
            access_key_id,
            secret_access_key,
        )
        .await;
        let outputs = bematic_admin::fetch_outputs(&config, STACK_NAME).await?;
        let output = |name: &str| {
            let output = outputs.get(name).cloned();
            output.with_context(|| format!("the deployed stack has no output {name}"))
        };
        let webhook_url = output("WebhookUrl")?;
        slack.state().set_webhook(&webhook_url);
        let mut file = StackFile {
            aws: LocalStackFile {
                aws_endpoint,
                region: REGION.to_owned(),
                aws_access_key_id: access_key_id.to_owned(),
                aws_secret_access_key: secret_access_key.to_owned(),
                tables: Tables::of(&outputs)?,
                queues: bematic_admin::queue_urls(&outputs),
                websocket_management_url: Some(output(MANAGEMENT_URL_OUTPUT)?),
                audit_days: AuditDays::of(&outputs)?,
            },
            websocket_url: output("WebSocketUrl")?,
            webhook_url,
            health_url: output("HealthUrl")?,
            slack_url: slack.page_url(),
            slack_api_url,
            slack_signing_secret: signing_secret,
            slack_bot_token: bot_token,
            channel_id,
            operations_channel_id: OPERATIONS_CHANNEL_ID.to_owned(),
            admin_user_id,
            team_id: TEAM_ID.to_owned(),
            app_id: APP_ID.to_owned(),
            agent_id: SAMPLE_AGENT_ID.to_owned(),
            agent_api_key: String::new(),
        };
        let step = session.ui.begin_step("Making an agent and a project");
        let admin = Admin::new(Deployment::local(file.aws.clone()).await);
        let agent_id = SAMPLE_AGENT_ID.parse()?;
        let path = session.dir.join("sample").display().to_string();
        file.agent_api_key =
            create_agent_with_project(&admin, &agent_id, &file.channel_id, "sample", path).await?;
        step.succeed(SAMPLE_AGENT_ID);
        file.write(&session.dir)?;
        Ok(Self {
            file,
            slack,
            edge,
            _folder: folder,
        })
    }
}

/// Reads the throttles of the template's routes.
fn read_throttles(workspace: &Workspace) -> Result<Throttles> {
    let template = fs::read_to_string(workspace.join("template.yaml"));
    let template = template.context("template.yaml cannot be read")?;
    Throttles::parse(&template).context("template.yaml")
}

/// Creates a temporary folder that nobody else may look into. The stack's own is no place for a
/// socket, since its path may be too long for one.
fn create_private_folder() -> Result<TempDir> {
    let mut folder = tempfile::Builder::new();
    let folder = folder
        .prefix("bematic-")
        .permissions(Permissions::from_mode(0o700));
    folder.tempdir().context("no folder for temporary files")
}

/// Deploys the template onto the emulator, with these parameters.
async fn deploy(
    session: &Session<'_>,
    private_folder: &Path,
    parameters: Value,
    aws_endpoint: &str,
    key: &AccessKey,
) -> Result<()> {
    let step = session.ui.begin_step("Deploying template.yaml onto it");
    // In a file: everybody on the machine can read a command line. The SAM CLI wants YAML, which
    // JSON is.
    let file = private_folder.join("parameters.yaml");
    write_private(&file, parameters.to_string().as_bytes())
        .context("the parameters cannot be written")?;
    let arguments = ["deploy", "--config-env", "local", "--parameter-overrides"];
    let mut deploy = session.workspace.sam_command(&arguments);
    deploy
        .arg(format!("file://{}", file.display()))
        .envs(emulator::aws_client_environment(aws_endpoint, key));
    run_command(&step, "sam deploy", deploy).await?;
    step.succeed("");
    Ok(())
}

/// Creates an agent, and a project that binds a channel to it. Returns the agent's key.
pub(crate) async fn create_agent_with_project(
    admin: &Admin,
    agent_id: &AgentId,
    channel_id: &str,
    name: &str,
    local_path: String,
) -> Result<String> {
    let agent = admin.create_agent(agent_id.clone(), false).await?;
    let project = NewProject {
        channel_id: channel_id.parse()?,
        name: name.to_owned(),
        route: Route::One(agent_id.clone()),
        local_path,
        model: "sample".to_owned(),
        max_budget: 1.0,
        bot_name: "Bematic".to_owned(),
        system_prompt: String::new(),
        allowed_tools: Vec::new(),
        lease_secs: None,
        external_users: false,
    };
    admin.create_project(project, false).await?;
    Ok(agent.api_key)
}
