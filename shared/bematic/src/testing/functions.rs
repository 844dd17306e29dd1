//! The functions, each in a fresh execution environment: nothing is cached yet.

use std::sync::Arc;

use super::World;
use crate::{
    handlers::{
        authorize::Authorizer, batch::BatchWorker, connect::Connector, disconnect::Disconnector,
        dispatch::Dispatcher, message::MessageRouter, notify::Notifier, routing::Router,
        sweep::Sweeper,
    },
    ports::{Ports, Settings},
};

impl World {
    pub(crate) fn ports(&self) -> Arc<Ports> {
        self.ports_with(settings())
    }

    pub(crate) fn ports_with(&self, settings: Settings) -> Arc<Ports> {
        let (store, out) = (&self.store, &self.out);
        Arc::new(Ports {
            tasks: store.clone(),
            agents: store.clone(),
            breakers: store.clone(),
            projects: store.clone(),
            batches: store.clone(),
            cards: store.clone(),
            dispatch: out.clone(),
            notifications: out.clone(),
            batch_queue: out.clone(),
            dead_letters: out.clone(),
            gateway: out.clone(),
            clock: self.time.clone(),
            ids: self.time.clone(),
            settings,
        })
    }

    pub(crate) fn authorizer(&self) -> Authorizer {
        Authorizer::new(self.ports())
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::new(self.ports())
    }

    pub(crate) fn disconnector(&self) -> Disconnector {
        Disconnector::new(self.ports())
    }

    pub(crate) fn router(&self) -> MessageRouter {
        MessageRouter::new(self.ports())
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(self.ports())
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier::new(self.ports(), self.out.clone())
    }

    pub(crate) fn batch_worker(&self) -> BatchWorker {
        BatchWorker::new(self.ports())
    }

    pub(crate) fn sweeper(&self) -> Sweeper {
        Sweeper::new(self.ports())
    }

    /// What the dispatcher moves waiting tasks with.
    pub(crate) fn mover(&self) -> Router {
        Router::new(self.ports())
    }
}

/// What the deployment of every world sets.
pub(crate) fn settings() -> Settings {
    Settings {
        operations_channel: Some("COPS".parse().unwrap()),
        ..Settings::default()
    }
}
