//! Choosing the agent for a task.

use bematic_protocol::{ids::AgentId, time::Timestamp};
use futures::future::try_join_all;
use tracing::warn;

use crate::{
    agent::{Agent, Candidate, Route, choose, choose_better_than},
    error::Result,
    ports::{MAX_WAITING_COUNTED, Ports},
};

/// The number of queues that are counted concurrently.
const MAX_CONCURRENT_COUNTS: usize = 8;

/// The agents to choose from. The tasks that wait for an agent are only counted when that can
/// matter: the load without them is a lower bound, so an agent whose lower bound is above the best
/// agent's load need not be counted.
pub(super) struct AgentPool<'a> {
    ports: &'a Ports,
    /// The agents, each with whether its waiting tasks are counted.
    candidates: Vec<(Candidate, bool)>,
}

impl<'a> AgentPool<'a> {
    /// Reads the agents that the routes allow and that exist, without `except`: one call for each that
    /// they name, in parallel, or those of the list of agents.
    pub(super) async fn read(
        ports: &'a Ports,
        routes: impl IntoIterator<Item = &Route>,
        except: Option<&AgentId>,
        now: Timestamp,
    ) -> Result<Self> {
        let mut named = Vec::new();
        for route in routes {
            if *route == Route::Any {
                return Ok(Self::new(ports, ports.agents.list().await?, now));
            }
            named.extend(
                route
                    .named_agents()
                    .iter()
                    .filter(|name| Some(*name) != except),
            );
        }
        named.sort();
        named.dedup();
        let found = try_join_all(named.iter().map(|agent| ports.agents.find(agent))).await?;
        for (name, _) in named
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none())
        {
            warn!(agent = %name, "the route names an agent that does not exist");
        }
        Ok(Self::new(ports, found.into_iter().flatten(), now))
    }

    fn new(ports: &'a Ports, agents: impl IntoIterator<Item = Agent>, now: Timestamp) -> Self {
        let agents = agents.into_iter();
        let candidates = agents
            .map(|agent| (Candidate::without_waiting_count(&agent, now), false))
            .collect();
        Self { ports, candidates }
    }

    /// Chooses the agent for a new task: one call for each candidate, if there is more than one.
    pub(super) async fn choose(&mut self, route: &Route) -> Result<Option<AgentId>> {
        let could = self.allowed_by(route);
        let alone = could.iter().filter(|it| it.is_ready_or_probing()).count() <= 1;
        if alone {
            return Ok(choose(&could).map(|it| it.id.clone()));
        }
        self.pick_after_counting(route, choose).await
    }

    /// Returns the agent that is better for a task that waits for `from`, if there is one.
    pub(super) async fn find_better_agent(
        &mut self,
        route: &Route,
        from: &Candidate,
    ) -> Result<Option<AgentId>> {
        self.pick_after_counting(route, |all| choose_better_than(from, all))
            .await
    }

    /// Adds a waiting task to the agent's load.
    pub(super) fn add_waiting_task(&mut self, agent: &AgentId) {
        let of_agent = self.candidates.iter_mut().find(|(it, _)| it.id == *agent);
        if let Some((candidate, _)) = of_agent {
            candidate.waiting += 1;
        }
    }

    /// Returns the candidates that the route allows, in the route's order.
    fn allowed_by(&self, route: &Route) -> Vec<&Candidate> {
        let all = || self.candidates.iter().map(|(candidate, _)| candidate);
        if *route == Route::Any {
            return all().collect();
        }
        let named = route.named_agents().iter();
        named
            .filter_map(|name| all().find(|it| it.id == *name))
            .collect()
    }

    /// Returns the choice of `pick`, after counting the waiting tasks that can change it.
    async fn pick_after_counting(
        &mut self,
        route: &Route,
        pick: impl for<'c> Fn(&[&'c Candidate]) -> Option<&'c Candidate>,
    ) -> Result<Option<AgentId>> {
        loop {
            let Some(picked) = pick(&self.allowed_by(route)).cloned() else {
                return Ok(None);
            };
            if !picked.is_ready_or_probing() || self.is_waiting_counted(&picked.id) {
                return Ok(Some(picked.id));
            }
            self.count_waiting(route, &picked.id).await?;
        }
    }

    /// Whether the tasks that wait for this agent have been counted.
    fn is_waiting_counted(&self, agent: &AgentId) -> bool {
        let mut candidates = self.candidates.iter();
        candidates.any(|(it, counted)| it.id == *agent && *counted)
    }

    /// Counts the tasks that wait for this agent, and for the least loaded others.
    async fn count_waiting(&mut self, route: &Route, first: &AgentId) -> Result<()> {
        let mut next = self.allowed_by(route);
        next.retain(|it| it.is_ready_or_probing() && !self.is_waiting_counted(&it.id));
        next.sort_by(|a, b| {
            (a.id != *first)
                .cmp(&(b.id != *first))
                .then(a.compare_load_ratio(b))
        });
        let next: Vec<_> = next.into_iter().map(|it| it.id.clone()).collect();
        let some = &next[..next.len().min(MAX_CONCURRENT_COUNTS)];
        let waiting = try_join_all(
            some.iter()
                .map(|agent| self.ports.lists.count_in_queue(agent, MAX_WAITING_COUNTED)),
        )
        .await?;
        for (candidate, counted) in &mut self.candidates {
            if let Some(at) = some.iter().position(|agent| *agent == candidate.id) {
                candidate.waiting += waiting[at];
                *counted = true;
            }
        }
        Ok(())
    }
}
