//! The functions, each in a fresh execution environment: nothing is cached yet.

use super::World;
use crate::{
    breaker::BreakerConfig,
    handlers::{
        authorize::Authorizer, batch::BatchWorker, connect::Connector, disconnect::Disconnector,
        dispatch::Dispatcher, message::MessageRouter, notify::Notifier, routing::Router,
        sweep::Sweeper, transitions::Transitions, webhook::Parts,
    },
    task::TaskPolicy,
};

impl World {
    pub(crate) fn parts(&self) -> Parts {
        Parts {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            breakers: self.store.clone(),
            breaker: BreakerConfig::default(),
            projects: self.store.clone(),
            dispatch: self.out.clone(),
            notifications: self.out.clone(),
            batches: self.store.clone(),
            batch_queue: self.out.clone(),
            dead_letters: self.out.clone(),
            policy: TaskPolicy::default(),
            clock: self.time.clone(),
            ids: self.time.clone(),
        }
    }

    pub(crate) fn authorizer(&self) -> Authorizer {
        Authorizer::new(self.store.clone())
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::new(self.store.clone(), self.out.clone(), self.out.clone())
    }

    pub(crate) fn disconnector(&self) -> Disconnector {
        Disconnector::new(self.store.clone())
    }

    pub(crate) fn router(&self) -> MessageRouter {
        MessageRouter::new(
            self.store.clone(),
            self.store.clone(),
            self.out.clone(),
            self.out.clone(),
            self.out.clone(),
            self.transitions(),
            self.time.clone(),
        )
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            breakers: self.store.clone(),
            gateway: self.out.clone(),
            dispatch: self.out.clone(),
            notifications: self.out.clone(),
            transitions: self.transitions(),
            clock: self.time.clone(),
            ids: self.time.clone(),
        }
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            batches: self.store.clone(),
            cards: self.store.clone(),
            breakers: self.store.clone(),
            operations_channel: Some("COPS".parse().unwrap()),
            slack: self.out.clone(),
            clock: self.time.clone(),
        }
    }

    pub(crate) fn batch_worker(&self) -> BatchWorker {
        BatchWorker {
            batches: self.store.clone(),
            tasks: self.store.clone(),
            queue: self.out.clone(),
            notifications: self.out.clone(),
            transitions: self.transitions(),
            clock: self.time.clone(),
        }
    }

    fn transitions(&self) -> Transitions {
        self.transitions_with(TaskPolicy::default())
    }

    pub(crate) fn transitions_with(&self, policy: TaskPolicy) -> Transitions {
        let (store, out) = (self.store.clone(), self.out.clone());
        let breaker = BreakerConfig::default();
        Transitions::new(store.clone(), store, out.clone(), out, policy, breaker)
    }

    pub(crate) fn sweeper(&self) -> Sweeper {
        Sweeper {
            tasks: self.store.clone(),
            agents: self.store.clone(),
            gateway: self.out.clone(),
            dispatch: self.out.clone(),
            batches: self.store.clone(),
            batch_queue: self.out.clone(),
            clock: self.time.clone(),
        }
    }

    /// What the dispatcher moves waiting tasks with.
    pub(crate) fn mover(&self) -> Router {
        Router::from(&self.dispatcher())
    }
}
