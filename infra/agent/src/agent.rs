//! Joins the parts: one loop that tells the session what happens, and does what it wants done.

#![expect(
    clippy::disallowed_methods,
    reason = "the one loop that time comes from: the session gets it passed in"
)]

use std::{collections::HashMap, future::pending, path::PathBuf, sync::Arc, time::Duration};

use bematic_protocol::{ids::RandomIds, messages::TaskSubmit, time::SystemClock};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    config::Config,
    connection::{self, Endpoint, Line},
    event::{Effect, Ending, LinkEvent, RunEvent},
    load::ThisMachine,
    run::{self, CommandLine, Job},
    run_key::RunKey,
    session::{Event, Session, Settings, StopReason},
    ui::{Notice, Ui},
};

/// Run events that may wait for the session; with so many, commands wait at their pipes.
const RUN_EVENTS: usize = 16;
/// The same for what comes from the cloud.
const LINK_EVENTS: usize = 16;

/// Runs an agent until it is told to stop, or its key is refused.
pub async fn run(config: Config, mut stops: mpsc::Receiver<StopReason>, ui: Box<dyn Ui>) -> Ending {
    let (mut agent, endpoint) = Agent::new(config, ui);
    let (reports, mut link) = mpsc::channel(LINK_EVENTS);
    let connection = tokio::spawn(connection::run(endpoint, reports));
    let ending = agent.work(&mut link, &mut stops).await;
    agent.close(&mut link).await;
    connection.abort();
    agent.ui.tell(&Notice::Stopped);
    ending
}

struct Agent {
    session: Session,
    ui: Box<dyn Ui>,
    command: CommandLine,
    flush_after: Duration,
    line: Option<Line>,
    /// Ends a run.
    stops: HashMap<RunKey, watch::Sender<Option<Duration>>>,
    runs: JoinSet<()>,
    run_events: mpsc::Sender<(RunKey, RunEvent)>,
    heard_of_runs: mpsc::Receiver<(RunKey, RunEvent)>,
}

impl Agent {
    fn new(config: Config, mut ui: Box<dyn Ui>) -> (Self, Endpoint) {
        ui.tell(&started(&config));
        let (run_events, heard_of_runs) = mpsc::channel(RUN_EVENTS);
        let endpoint = Endpoint {
            url: config.url,
            agent_id: config.agent_id.clone(),
            api_key: config.api_key,
            reconnect: config.timings.reconnect,
            renew: config.timings.renew,
            linger: config.timings.linger,
        };
        let flush_after = config.timings.flush;
        let settings = Settings {
            agent_id: config.agent_id,
            concurrency: config.concurrency,
            workdirs: config.workdirs,
            timings: config.timings,
        };
        let machine = Box::new(ThisMachine::default());
        let agent = Self {
            session: Session::new(
                settings,
                Arc::new(RandomIds),
                Arc::new(SystemClock),
                machine,
            ),
            ui,
            command: config.command,
            flush_after,
            line: None,
            stops: HashMap::new(),
            runs: JoinSet::new(),
            run_events,
            heard_of_runs,
        };
        (agent, endpoint)
    }

    async fn work(
        &mut self,
        reports: &mut mpsc::Receiver<connection::Report>,
        stops: &mut mpsc::Receiver<StopReason>,
    ) -> Ending {
        loop {
            if let Some(ending) = self.act() {
                return ending;
            }
            let event = tokio::select! {
                Some((event, line)) = reports.recv() => self.on_link(event, line),
                Some(reason) = stops.recv() => Event::Stop(reason),
                Some((run, event)) = self.heard_of_runs.recv(), if self.session.takes_run_events() => {
                    if matches!(event, RunEvent::Ended(_)) {
                        self.stops.remove(&run);
                    }
                    Event::Run(run, event)
                }
                Some(_) = self.runs.join_next(), if !self.runs.is_empty() => continue,
                permit = room(self.line.clone()), if self.session.has_outgoing() => {
                    if let Some(text) = self.session.next_outgoing(Instant::now()) {
                        permit.send(text);
                    }
                    Event::Tick
                }
                () = due(self.session.deadline()) => Event::Tick,
            };
            self.session.handle(event, Instant::now());
        }
    }

    fn on_link(&mut self, event: LinkEvent, line: Option<Line>) -> Event {
        match event {
            LinkEvent::Up { .. } => self.line = line,
            LinkEvent::Down { .. } | LinkEvent::Refused(_) => self.line = None,
            _ => {}
        }
        Event::Link(event)
    }

    /// Does what the session wants done.
    fn act(&mut self) -> Option<Ending> {
        let effects: Vec<Effect> = self.session.effects().collect();
        let mut ending = None;
        for effect in effects {
            match effect {
                Effect::Start { submit, folder } => {
                    self.start(submit, folder);
                }
                Effect::Stop { run, grace } => {
                    if let Some(stop) = self.stops.get(&run) {
                        stop.send_replace(Some(grace));
                    }
                }
                Effect::Reconnect => self.line = None,
                Effect::Renew => {
                    if let Some(line) = &self.line {
                        line.renew();
                    }
                }
                Effect::Tell(notice) => self.ui.tell(&notice),
                Effect::Exit(how) => ending = Some(how),
            }
        }
        ending
    }

    fn start(&mut self, submit: Box<TaskSubmit>, folder: PathBuf) -> AbortHandle {
        let (stop, stopped) = watch::channel(None);
        self.stops.insert(RunKey::of(&submit), stop);
        let job = Job {
            submit,
            folder,
            command: self.command.clone(),
            flush_after: self.flush_after,
        };
        self.runs
            .spawn(run::run(job, stopped, self.run_events.clone()))
    }

    /// Ends what still runs, and closes the connection after what was handed to it is sent.
    async fn close(&mut self, link: &mut mpsc::Receiver<connection::Report>) {
        self.runs.shutdown().await;
        if self.line.take().is_none() {
            return;
        }
        let closed = async {
            while let Some((event, _)) = link.recv().await {
                if matches!(event, LinkEvent::Down { .. }) {
                    return;
                }
            }
        };
        // A cloud that does not answer the close is left without.
        let _closed = timeout(2 * connection::CLOSE, closed).await;
    }
}

/// Room for one more message; for ever without a connection.
async fn room(line: Option<Line>) -> mpsc::OwnedPermit<String> {
    match line {
        Some(line) => match line.room().await {
            Some(permit) => permit,
            // The connection is gone; it reports so itself.
            None => pending().await,
        },
        None => pending().await,
    }
}

/// Waits until then; for ever without a time.
async fn due(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn started(config: &Config) -> Notice {
    let mut url = config.url.clone();
    // A query might hold a secret.
    url.set_query(None);
    Notice::Started {
        agent_id: config.agent_id.to_string(),
        url: url.to_string(),
        command: config.command.program().to_owned(),
        concurrency: config.concurrency,
    }
}
