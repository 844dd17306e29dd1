//! Routes: the agents that a project's tasks may be sent to.

use std::{collections::BTreeSet, fmt, slice, str::FromStr};

use bematic_protocol::ids::{AgentId, InvalidId};
use serde::{Deserialize, Serialize};

/// The agents that a project's tasks may be sent to. Stored as a name, a list of names, or `*`,
/// which is not a valid agent name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredRoute", into = "StoredRoute")]
pub enum Route {
    /// One agent.
    One(AgentId),
    /// One of several agents.
    Several(PreferredAgents),
    /// Any agent.
    Any,
}

/// Two or more agents, each once, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferredAgents(Vec<AgentId>);

/// Why a text is not a valid route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    /// A name in it is not a valid agent name.
    #[error("'{given}' is {source}; write an agent, several with commas between them, or `any`")]
    Agent {
        /// The name.
        given: String,
        /// Why the name is not valid.
        source: InvalidId,
    },
    /// An agent is named more than once.
    #[error("agent '{0}' is named twice; name it once, where it comes first")]
    Twice(AgentId),
    /// More agents are named than are read for each task.
    #[error("{0} agents are named, and a project has at most {max}; `any` stands for all there are", max = Route::MAX_NAMED)]
    TooMany(usize),
    /// `any` is named among other agents.
    #[error("`any` stands for all agents; write it alone, or name the agents")]
    AnyAmongOthers,
}

impl Route {
    /// The text for a route to any agent.
    const ANY: &str = "any";
    const STORED_ANY: &str = "*";
    /// The number of agents that a project names at most.
    const MAX_NAMED: usize = 20;

    /// Returns the route to these agents, in order of preference.
    fn from_agents(agents: Vec<AgentId>) -> Result<Self, InvalidRoute> {
        let mut known = BTreeSet::new();
        if let Some(twice) = agents.iter().find(|agent| !known.insert(*agent)) {
            return Err(InvalidRoute::Twice(twice.clone()));
        }
        if agents.len() > Self::MAX_NAMED {
            return Err(InvalidRoute::TooMany(agents.len()));
        }
        if let [one] = &agents[..] {
            return Ok(Self::One(one.clone()));
        }
        if agents.is_empty() || agents.iter().any(Self::is_reserved_name) {
            return Err(InvalidRoute::AnyAmongOthers);
        }
        Ok(Self::Several(PreferredAgents(agents)))
    }

    /// Whether the name is reserved: a project could not name an agent that is called this.
    pub fn is_reserved_name(agent: &AgentId) -> bool {
        agent.as_str() == Self::ANY
    }

    /// Returns the agents that the route names, the most preferred first; none of [`Route::Any`].
    pub fn named_agents(&self) -> &[AgentId] {
        match self {
            Self::One(agent) => slice::from_ref(agent),
            Self::Several(several) => &several.0,
            Self::Any => &[],
        }
    }

    /// Whether a task of the project may be sent to the agent.
    pub fn allows(&self, agent: &AgentId) -> bool {
        *self == Self::Any || self.named_agents().contains(agent)
    }

    pub(crate) const fn has_choice(&self) -> bool {
        !matches!(self, Self::One(_))
    }
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        if text.trim() == Self::ANY {
            return Ok(Self::Any);
        }
        let named = text.split(',').map(|name| parse_agent(name.trim()));
        Self::from_agents(named.collect::<Result<_, _>>()?)
    }
}

fn parse_agent(name: &str) -> Result<AgentId, InvalidRoute> {
    name.parse().map_err(|source| InvalidRoute::Agent {
        given: name.to_owned(),
        source,
    })
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::Any {
            return f.write_str(Self::ANY);
        }
        let names: Vec<_> = self.named_agents().iter().map(AgentId::as_str).collect();
        f.write_str(&names.join(","))
    }
}

/// The stored form of a route.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredRoute {
    Name(String),
    Names(Vec<AgentId>),
}

impl From<Route> for StoredRoute {
    fn from(route: Route) -> Self {
        match route {
            Route::One(agent) => Self::Name(agent.to_string()),
            Route::Several(PreferredAgents(agents)) => Self::Names(agents),
            Route::Any => Self::Name(Route::STORED_ANY.to_owned()),
        }
    }
}

impl TryFrom<StoredRoute> for Route {
    type Error = InvalidRoute;

    fn try_from(stored: StoredRoute) -> Result<Self, InvalidRoute> {
        match stored {
            StoredRoute::Name(name) if name == Self::STORED_ANY => Ok(Self::Any),
            // An agent named `any` is from before projects could name any agent.
            StoredRoute::Name(name) => parse_agent(&name).map(Self::One),
            StoredRoute::Names(agents) => Self::from_agents(agents),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(text: &str) -> Route {
        text.parse().unwrap()
    }

    #[test]
    fn an_agent_several_or_any_are_read_and_written_alike() {
        for text in ["a", "a,b", "b,a,c", "any"] {
            assert_eq!(route(text).to_string(), text);
        }
        assert_eq!(route(" a , b "), route("a,b"));
        assert_eq!(route("a").named_agents().len(), 1);
        assert!(!route("a").has_choice() && route("a,b").has_choice() && route("any").has_choice());
    }

    #[test]
    fn what_is_no_route_is_refused_with_what_to_write_instead() {
        let many: Vec<_> = (0..21).map(|n| format!("a{n}")).collect();
        for (text, expected) in [
            ("", "write an agent, several"),
            ("a,", "write an agent, several"),
            ("a b", "write an agent, several"),
            ("*", "write an agent, several"),
            ("a,b,a", "'a' is named twice"),
            ("a,any", "write it alone"),
            (&*many.join(","), "21 agents are named"),
        ] {
            let error = text.parse::<Route>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(many[1..].join(",").parse::<Route>().is_ok());
    }

    #[test]
    fn it_is_stored_as_a_name_a_list_or_a_star_and_read_back() {
        for (text, stored) in [
            ("a", json!("a")),
            ("a,b", json!(["a", "b"])),
            ("any", json!("*")),
        ] {
            let route = route(text);
            assert_eq!(serde_json::to_value(&route).unwrap(), stored);
            assert_eq!(serde_json::from_value::<Route>(stored).unwrap(), route);
        }
        let called_any: Route = serde_json::from_value(json!("any")).unwrap();
        assert_eq!(called_any, Route::One("any".parse().unwrap()));
        for bad in [json!([]), json!(["a", "a"]), json!("no spaces"), json!(1)] {
            assert!(
                serde_json::from_value::<Route>(bad.clone()).is_err(),
                "{bad}"
            );
        }
    }
}
