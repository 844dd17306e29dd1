//! A run from its first task to its verdict.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use bematic_test_agent::{AgentEvent, AttemptEvent, Ledger, Settings};
use futures_util::future::{join, join_all};
use local_slack::Slack;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt as _, SeedableRng as _, TryRng as _};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use xtask::Workspace;

use super::Options;
use super::agent::{AgentHandle, Interruption};
use super::faults::{fail_slack_repeatedly, interrupt_repeatedly, repair_slack};
use super::operator::{AllOperatorsRecord, Operator};
use super::report::{Report, print_violation_records};
use super::system::SystemUnderTest;
use super::verdict::{Records, judge};
use crate::session::{CHAOS_DIR, Session};
use crate::stack::{self, Parameters, Stack, with_stack};
use crate::ui::{Step, Ui};

/// Timers that end within the run. One task of twenty fails, so that three failures in a row open a
/// few breakers, each for a moment; the usual five would hardly ever.
const TEMPLATE_PARAMETERS: Parameters = &[
    ("BreakerConsecutiveFailures", "3"),
    ("BreakerRecoverySeconds", "5"),
    ("TaskAckSeconds", "15"),
    ("TaskCancelSeconds", "15"),
    ("TaskLeaseSeconds", "90"),
    ("TaskWaitSeconds", "3600"),
];

/// The time within which an attempt must be acknowledged: the value of `TaskAckSeconds`.
const ACK_DEADLINE: Duration = Duration::from_secs(15);
/// The network conditions of an agent's connection, as the [edge](crate::edge) parses them.
const NETWORK_CONDITIONS: &str = "reorder:0.2,double:0.1,delay:0.2,drop:0.02,cut:0.005";
/// The probability that a function's call to AWS fails.
const CALL_FAILURE_PROBABILITY: f64 = 0.02;
/// The interval at which the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// The pause between two checks whether all tasks are over.
const SETTLE_POLL_INTERVAL: Duration = Duration::from_secs(3);
/// The time without a change after which nothing will change any more: the sweeper finds a lost message
/// after a minute, and a refresh that failed is repeated after the visibility timeout of 180 s.
const NO_CHANGE_TIMEOUT: Duration = Duration::from_secs(200);
/// The longest wait until all tasks are over.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(6);

/// The agents of a run, and the records of agents and operators.
struct Participants {
    agents: Vec<AgentHandle>,
    ledger: Ledger,
    record: Arc<Mutex<AllOperatorsRecord>>,
}

/// Lets failures loose on a stack of its own. An error if anything happened that may not.
pub(crate) async fn chaos(workspace: &Workspace, options: &Options, ui: &Ui) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        // Short enough to be typed.
        None => SysRng.try_next_u32().context("no random numbers")?.into(),
    };
    let settings = stack::Settings::with_parameters(TEMPLATE_PARAMETERS);
    let report = with_stack(
        workspace,
        ui,
        CHAOS_DIR,
        settings,
        async |session, stack| run(session, stack, options, seed).await,
    )
    .await?;
    ui.print_line(&report.to_string());
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    match report.verdict.violations.len() {
        0 => Ok(()),
        1 => bail!("1 thing happened that may not; it is named above"),
        more => bail!("{more} things happened that may not; they are named above"),
    }
}

/// Runs on a stack that nobody else uses.
async fn run(session: &Session<'_>, stack: &Stack, options: &Options, seed: u64) -> Result<Report> {
    let (ui, begun) = (session.ui, SystemClock.now());
    let mut rng = StdRng::seed_from_u64(seed);
    let system = SystemUnderTest::create(stack, options.agents).await?;
    let (participants, operators) = Participants::start(&system, options, &mut rng)?;
    let step = ui.begin_step(&format!("Letting failures loose, seed {seed}"));
    let calls_seed = rng.random();
    if !options.calm {
        stack
            .edge
            .fail_aws_calls(calls_seed, CALL_FAILURE_PROBABILITY);
    }
    participants
        .inject_faults(operators, stack.slack.state(), options, &mut rng, &step)
        .await;
    stack.edge.fail_aws_calls(calls_seed, 0.0);
    repair_slack(stack.slack.state());
    for agent in &participants.agents {
        agent.interrupt(Interruption {
            url: Some(stack.file.websocket_url.clone()),
            ..Interruption::default()
        });
    }
    step.succeed(&participants.progress_text().await);
    let faults_ended = SystemClock.now();
    let ended_disturbed =
        participants.count_attempt_events(|event| matches!(event, AttemptEvent::Reported(_)));
    let step = ui.begin_step("Waiting until all has come to rest");
    participants.wait_until_settled(&system, &step).await?;
    let records = Records {
        ledger: participants.ledger.entries(),
        operators: participants.record.lock().await.clone(),
        snapshot: system.snapshot().await?,
        ack_deadline: ACK_DEADLINE,
        capacity: options.concurrency,
    };
    step.succeed(&participants.progress_text().await);
    let verdict = judge(&records);
    print_violation_records(session, &stack.file, &records.ledger, &verdict).await?;
    Ok(Report {
        seed,
        agents: options.agents,
        concurrency: options.concurrency,
        disturbed_ms: elapsed_millis(faults_ended, begun),
        ended_disturbed,
        whole_ms: elapsed_millis(SystemClock.now(), begun),
        calls: stack.edge.call_counts(),
        unanswered: records.operators.unanswered,
        verdict,
    })
}

impl Participants {
    /// Starts the agents and the operators.
    fn start(
        system: &SystemUnderTest<'_>,
        options: &Options,
        rng: &mut StdRng,
    ) -> Result<(Self, JoinSet<()>)> {
        let ledger = Ledger::default();
        let record = Arc::<Mutex<AllOperatorsRecord>>::default();
        let stack = &system.stack.file;
        let agents = system.keys.iter().map(|(id, key)| {
            let settings = Settings {
                capacity: options.concurrency,
                ..Settings::new(id.clone())
            };
            let seed: u64 = rng.random();
            let mut url = stack.websocket_url.clone();
            if !options.calm {
                url = format!("{url}?disturb=seed:{seed},{NETWORK_CONDITIONS}");
            }
            AgentHandle::start(settings, key, url, rng.random(), ledger.clone())
        });
        let agents = agents.collect();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut operators = JoinSet::new();
        for (index, channel) in system.channels.iter().enumerate() {
            let operator = Arc::new(Operator {
                http: http.clone(),
                stack: stack.clone(),
                channel: channel.clone(),
                record: record.clone(),
                typed: Mutex::default(),
            });
            // Shared out among them, the rest too.
            for number in 0..(options.tasks + index) / options.agents {
                let rng = StdRng::seed_from_u64(rng.random());
                operators.spawn(operator.clone().create_task_maybe_cancel(
                    number,
                    options.fault_injection_duration(),
                    rng,
                ));
            }
        }
        let participants = Self {
            agents,
            ledger,
            record,
        };
        Ok((participants, operators))
    }

    /// Injects faults until the time is over and all operators have typed all commands.
    async fn inject_faults(
        &self,
        mut operators: JoinSet<()>,
        slack: &Slack,
        options: &Options,
        rng: &mut StdRng,
        step: &Step,
    ) {
        let mut next_rng = || StdRng::seed_from_u64(rng.random());
        let agents = self.agents.iter();
        let interruptions = agents.map(|agent| {
            interrupt_repeatedly(agent, options.fault_injection_duration(), next_rng())
        });
        let interruptions = join_all(interruptions);
        let slack_faults = fail_slack_repeatedly(slack, next_rng());
        let progress = async {
            let mut tick = interval(PROGRESS_INTERVAL);
            loop {
                tick.tick().await;
                step.show_note(&self.progress_text().await);
            }
        };
        let operators = async { while operators.join_next().await.is_some() {} };
        tokio::select! {
            _ = join(operators, sleep(options.fault_injection_duration())) => {}
            _ = join(interruptions, slack_faults), if !options.calm => {}
            () = progress => {}
        }
    }

    /// Waits until all tasks are over and shown, or nothing happens any more.
    async fn wait_until_settled(&self, system: &SystemUnderTest<'_>, step: &Step) -> Result<()> {
        let begun = SystemClock.now();
        let (mut last, mut changed_at) = (None, begun);
        loop {
            let open = system.unsettled_tasks().await?;
            step.show_note(&format!("{} tasks are not over and shown", open.len()));
            let is_idle = self.agents.iter().all(AgentHandle::is_idle);
            if system.all_slots_are_free().await? && open.is_empty() && is_idle {
                return Ok(());
            }
            // As long as either changes, something goes on.
            let (now, state) = (
                SystemClock.now(),
                Some((open, self.count_attempt_events(|_| true))),
            );
            if last != state {
                (last, changed_at) = (state, now);
            }
            if now.since(changed_at) >= NO_CHANGE_TIMEOUT || now.since(begun) >= SETTLE_TIMEOUT {
                return Ok(());
            }
            sleep(SETTLE_POLL_INTERVAL).await;
        }
    }

    fn count_attempt_events(&self, wanted: fn(&AttemptEvent) -> bool) -> usize {
        let of = |what: &AgentEvent| matches!(what, AgentEvent::Run(_, event) if wanted(event));
        self.ledger.count_matching(of)
    }

    async fn progress_text(&self) -> String {
        let asked = self.record.lock().await.asked;
        let begun = self.count_attempt_events(|event| matches!(event, AttemptEvent::Started));
        let ended = self.count_attempt_events(|event| matches!(event, AttemptEvent::Confirmed));
        format!("{asked} asked for, {begun} begun, {ended} ended")
    }
}

fn elapsed_millis(now: Timestamp, since: Timestamp) -> u64 {
    now.as_millis().saturating_sub(since.as_millis())
}
