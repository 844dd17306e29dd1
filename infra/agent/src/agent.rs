//! The agent: one loop that passes events to the session, and carries out its effects.

#![expect(
    clippy::disallowed_methods,
    reason = "the one loop that time comes from: the session gets it passed in"
)]

use std::{collections::HashMap, future::pending, path::PathBuf, sync::Arc, time::Duration};

use bematic_protocol::{ids::RandomIds, messages::TaskSubmit, time::SystemClock};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    backoff::due,
    config::{Config, without_secrets},
    connection::{self, Line},
    event::{Effect, Exit, LinkEvent, RunEvent},
    load,
    run::{self, Job},
    run_key::RunKey,
    session::{Event, Session, StopReason},
    ui::{Notice, Ui},
};

/// Events of runs that may wait for the session; with so many, commands wait at their pipes.
const RUN_EVENTS: usize = 16;
/// Events of the connection that may wait for the session.
const LINK_EVENTS: usize = 16;

/// Runs an agent until it is asked to stop, or its key is refused.
pub async fn run(config: Config, mut stops: mpsc::Receiver<StopReason>, mut ui: Ui) -> Exit {
    ui(&started(&config));
    let config = Arc::new(config);
    let (reports, mut link) = mpsc::channel(LINK_EVENTS);
    let connection = tokio::spawn(connection::run(config.clone(), reports));
    let (ids, clock) = (Arc::new(RandomIds), Arc::new(SystemClock));
    let (run_events, mut run_reports) = mpsc::channel(RUN_EVENTS);
    let mut agent = Agent {
        session: Session::new(config.clone(), ids, clock, load::this_machine()),
        config,
        ui,
        line: None,
        stops: HashMap::new(),
        runs: JoinSet::new(),
        run_events,
    };
    let exit = agent.work(&mut link, &mut run_reports, &mut stops).await;
    agent.close(&mut link).await;
    connection.abort();
    (agent.ui)(&Notice::Stopped);
    exit
}

struct Agent {
    session: Session,
    config: Arc<Config>,
    ui: Ui,
    line: Option<Line>,
    /// Stops a run, after the given grace.
    stops: HashMap<RunKey, watch::Sender<Option<Duration>>>,
    runs: JoinSet<()>,
    run_events: run::Events,
}

impl Agent {
    async fn work(
        &mut self,
        reports: &mut mpsc::Receiver<connection::Report>,
        run_reports: &mut mpsc::Receiver<(RunKey, RunEvent)>,
        stops: &mut mpsc::Receiver<StopReason>,
    ) -> Exit {
        loop {
            if let Some(exit) = self.carry_out() {
                return exit;
            }
            let event = tokio::select! {
                Some((event, line)) = reports.recv() => {
                    if let LinkEvent::Up { .. } | LinkEvent::Down { .. } | LinkEvent::Refused(_) = event {
                        self.line = line;
                    }
                    Event::Link(event)
                }
                Some(reason) = stops.recv() => Event::Stop(reason),
                Some((run, event)) = run_reports.recv(), if self.session.takes_run_events() => {
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

    /// Carries out the session's effects. Returns the reason to exit, if there is one.
    fn carry_out(&mut self) -> Option<Exit> {
        let effects: Vec<Effect> = self.session.effects().collect();
        let mut exit = None;
        for effect in effects {
            match effect {
                Effect::Start { submit, folder } => self.start(submit, folder),
                Effect::Stop { run, grace } => {
                    if let Some(stop) = self.stops.get(&run) {
                        stop.send_replace(Some(grace));
                    }
                }
                Effect::Reconnect => self.line = None,
                Effect::Renew => {
                    if let Some(line) = &self.line {
                        line.renewal.notify_one();
                    }
                }
                Effect::Show(notice) => (self.ui)(&notice),
                Effect::Exit(reason) => exit = Some(reason),
            }
        }
        exit
    }

    fn start(&mut self, submit: Box<TaskSubmit>, folder: PathBuf) {
        let (stop, stopped) = watch::channel(None);
        self.stops.insert(RunKey::of(&submit), stop);
        let job = Job {
            submit,
            folder,
            config: self.config.clone(),
        };
        self.runs
            .spawn(run::run(job, stopped, self.run_events.clone()));
    }

    /// Ends the runs that are left, and closes the connection after its messages are sent.
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
        // The agent does not wait longer for a cloud that does not answer the close.
        let _closed = timeout(2 * connection::CLOSE, closed).await;
    }
}

/// Waits for room for one more message; for ever without a connection, whose end is an event.
async fn room(line: Option<Line>) -> mpsc::OwnedPermit<String> {
    if let Some(line) = line
        && let Ok(permit) = line.texts.reserve_owned().await
    {
        return permit;
    }
    pending().await
}

fn started(config: &Config) -> Notice {
    Notice::Started {
        agent_id: config.agent_id.to_string(),
        url: without_secrets(&config.url),
        command: config.command.program.clone(),
        concurrency: config.concurrency,
    }
}
