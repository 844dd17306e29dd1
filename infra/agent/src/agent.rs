//! The agent: one loop that passes events to the session, and carries out its effects.

#![expect(
    clippy::disallowed_methods,
    reason = "the one loop that time comes from: the session gets it passed in"
)]

use std::{collections::HashMap, future::pending, sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{IdGenerator, RandomIds},
    time::SystemClock,
};
use secrecy::SecretString;
use sysinfo::System;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    backoff::sleep_until_deadline,
    config::{Config, url_without_secrets},
    connection::{self, ConnectionEvent, ConnectionHandle},
    load,
    notice::Notice,
    run::{self, RunEvent, RunKey},
    session::{Effect, Event, Exit, Session},
    ui::NoticeSink,
};

/// Events of the connection, and of runs, that may wait for the session; with so many, commands
/// wait at their pipes.
const EVENT_CHANNEL_CAPACITY: usize = 16;

/// Runs an agent until it is asked to stop, or its key is refused. `signals` are the names of those
/// that ask it to stop.
pub async fn run(
    config: Config,
    api_key: SecretString,
    signals: mpsc::Receiver<&'static str>,
    mut ui: NoticeSink,
) -> Exit {
    ui(&Notice::Started {
        agent_id: config.agent_id.to_string(),
        url: url_without_secrets(&config.url),
        command: config.command.program.clone(),
        concurrency: config.concurrency,
    });
    let config = Arc::new(config);
    let (events, connection_events) = mpsc::channel(EVENT_CHANNEL_CAPACITY);
    let connection = tokio::spawn(connection::run(config.clone(), api_key, events));
    let (ids, clock) = (Arc::new(RandomIds), Arc::new(SystemClock));
    let (run_sender, run_events) = mpsc::channel(EVENT_CHANNEL_CAPACITY);
    let mut system = System::new();
    let measure_load = Box::new(move || load::measure(&mut system));
    let mut agent = Agent {
        session: Session::new(config.clone(), ids.clone(), clock, measure_load),
        ids,
        config,
        ui,
        connection: None,
        connection_events,
        signals,
        stops: HashMap::new(),
        runs: JoinSet::new(),
        run_sender,
        run_events,
    };
    let exit = agent.event_loop().await;
    agent.close().await;
    connection.abort();
    (agent.ui)(&Notice::Stopped);
    exit
}

struct Agent {
    session: Session,
    ids: Arc<RandomIds>,
    config: Arc<Config>,
    ui: NoticeSink,
    connection: Option<ConnectionHandle>,
    connection_events: mpsc::Receiver<ConnectionEvent>,
    signals: mpsc::Receiver<&'static str>,
    /// Stops a run, after the given grace.
    stops: HashMap<RunKey, watch::Sender<Option<Duration>>>,
    runs: JoinSet<()>,
    run_sender: mpsc::Sender<(RunKey, RunEvent)>,
    run_events: mpsc::Receiver<(RunKey, RunEvent)>,
}

impl Agent {
    async fn event_loop(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.carry_out_effects() {
                return exit;
            }
            let event = tokio::select! {
                Some(event) = self.connection_events.recv() => {
                    match &event {
                        ConnectionEvent::Connected { handle, .. } => self.connection = Some(handle.clone()),
                        ConnectionEvent::Disconnected { .. } | ConnectionEvent::Refused(_) => self.connection = None,
                        _ => {}
                    }
                    Event::Connection(event)
                }
                Some(name) = self.signals.recv() => Event::Signal(name),
                Some((run, event)) = self.run_events.recv(), if self.session.takes_run_events() => {
                    if matches!(event, RunEvent::Ended(_)) {
                        self.stops.remove(&run);
                    }
                    Event::Run(run, event)
                }
                Some(_) = self.runs.join_next(), if !self.runs.is_empty() => continue,
                permit = wait_for_send_permit(self.connection.clone()), if self.session.has_outgoing() => {
                    if let Some(text) = self.session.next_outgoing(Instant::now()) {
                        permit.send(text);
                    }
                    Event::Tick
                }
                () = sleep_until_deadline(self.session.deadline()) => Event::Tick,
            };
            self.session.handle_event(event, Instant::now());
        }
    }

    /// Carries out the session's effects. Returns the reason to exit, if there is one.
    fn carry_out_effects(&mut self) -> Option<Exit> {
        let mut exit = None;
        for effect in self.session.take_effects() {
            match effect {
                Effect::Start { submit, folder } => {
                    let (stop, stopped) = watch::channel(None);
                    self.stops.insert(RunKey::of(&submit), stop);
                    let (config, events) = (self.config.clone(), self.run_sender.clone());
                    let nonce = self.ids.message().to_string();
                    self.runs
                        .spawn(run::run(config, submit, folder, nonce, stopped, events));
                }
                Effect::Stop { run, grace } => {
                    if let Some(stop) = self.stops.get(&run) {
                        stop.send_if_modified(|earlier| earlier.replace(grace) != Some(grace));
                    }
                }
                Effect::Reconnect => self.connection = None,
                Effect::Renew => {
                    if let Some(connection) = &self.connection {
                        connection.renewal.notify_one();
                    }
                }
                Effect::Show(notice) => (self.ui)(&notice),
                Effect::Exit(reason) => exit = Some(reason),
            }
        }
        exit
    }

    /// Ends the runs that are left, and closes the connection after its messages are sent.
    async fn close(&mut self) {
        self.runs.shutdown().await;
        if self.connection.take().is_none() {
            return;
        }
        let closed = async {
            while let Some(event) = self.connection_events.recv().await
                && !matches!(event, ConnectionEvent::Disconnected { .. })
            {}
        };
        // The agent does not wait longer for a cloud that does not answer the close.
        let _closed = timeout(2 * connection::CLOSE_TIMEOUT, closed).await;
    }
}

/// Waits for room for one more message; for ever without a connection, whose end is an event.
async fn wait_for_send_permit(connection: Option<ConnectionHandle>) -> mpsc::OwnedPermit<String> {
    if let Some(connection) = connection
        && let Ok(permit) = connection.texts.reserve_owned().await
    {
        return permit;
    }
    pending().await
}
