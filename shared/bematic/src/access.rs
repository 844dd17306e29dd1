//! Who may do what: the roles of people, what each command requires, and the limits of a person.

mod membership;

use bematic_protocol::{
    ids::{ChannelId, UserId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

pub use self::membership::{CheckedMembership, Membership, Outsider};
use crate::task::Origin;

/// The role of a person; a later one includes what the earlier ones may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumIter,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Role {
    /// May do nothing.
    None,
    /// May look at tasks and agents.
    Viewer,
    /// May create, cancel and retry tasks.
    Operator,
    /// May do everything.
    Admin,
}

/// What a command requires of who gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// This role, or one that includes it.
    Role(Role),
    /// The role admin; in the operations channel operator is enough.
    AdminOrOperationsChannel,
}

/// The settings of a deployment about who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// The people who are admins whatever role is stored: they appoint the others.
    pub first_admins: Vec<UserId>,
    /// The role of people who were given none.
    pub default_role: Role,
    /// The workspaces whose requests are accepted; empty for all.
    pub teams: Vec<String>,
    /// The app whose requests are accepted; `None` for all.
    pub app: Option<String>,
}

/// The limits of what people may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The number of tasks that somebody who is no admin may create in an hour of the clock.
    pub tasks_per_user_and_hour: u32,
    /// The number of tasks that may wait for an agent.
    pub tasks_in_queue: usize,
}

impl RequestLimits {
    /// Returns the number of tasks that somebody with this role may create in an hour; `None` for any
    /// number: an admin can change the limit anyway.
    pub fn hourly_tasks(&self, role: Role) -> Option<u32> {
        (role < Role::Admin).then_some(self.tasks_per_user_and_hour)
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            tasks_per_user_and_hour: 50,
            tasks_in_queue: 1000,
        }
    }
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            first_admins: Vec::new(),
            default_role: Role::Operator,
            teams: Vec::new(),
            app: None,
        }
    }
}

/// A role that an admin has given somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleAssignment {
    /// The person who has the role.
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// The person who gave it.
    pub given_by: UserId,
    /// The time at which it was given.
    pub given_at: Timestamp,
}

/// Who gives a command, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The person, the channel and the thread.
    pub origin: Origin,
    /// Whether the person is of a workspace whose requests are not accepted, in a channel that is
    /// shared with it.
    pub is_external: bool,
}

/// A command that somebody may not give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the role {has} is not enough")]
pub struct Unauthorized {
    /// The person's role.
    pub has: Role,
    /// The role that the command requires where it was given.
    pub requires: Role,
    /// The channel where the person's role is enough.
    pub allowed_in: Option<ChannelId>,
}

impl Unauthorized {
    /// The stable code, for logs and the audit log.
    pub const CODE: &str = "NOT_ALLOWED";
}

impl AccessSettings {
    /// Whether requests of this workspace are accepted. Slack does not name it in every request.
    pub fn accepts_team(&self, team: Option<&str>) -> bool {
        let accepts = |team| self.teams.is_empty() || self.teams.iter().any(|it| it == team);
        team.is_none_or(accepts)
    }

    /// Whether requests of this app are accepted.
    pub fn accepts_app(&self, app: Option<&str>) -> bool {
        match (&self.app, app) {
            (Some(accepted), Some(app)) => accepted == app,
            _ => true,
        }
    }

    /// Whether the deployment names the person as an admin.
    pub fn is_first_admin(&self, user: &UserId) -> bool {
        self.first_admins.contains(user)
    }

    /// Returns a person's role, given the one that is stored.
    pub fn role_of(&self, user: &UserId, stored: Option<Role>) -> Role {
        if self.is_first_admin(user) {
            return Role::Admin;
        }
        stored.unwrap_or(self.default_role)
    }
}

/// Checks that somebody with the role `own` may give the role `given` to a person who has `present`:
/// in the operations channel an operator may give roles, but makes nobody an admin, and takes no
/// admin's role away.
///
/// # Errors
/// [`Unauthorized`] if that takes an admin.
pub fn authorize_assignment(own: Role, present: Role, given: Role) -> Result<(), Unauthorized> {
    if own >= present.max(given) {
        return Ok(());
    }
    Err(Unauthorized {
        has: own,
        requires: Role::Admin,
        allowed_in: None,
    })
}

/// Checks that somebody with this role may give a command of this requirement where it was given.
///
/// # Errors
/// [`Unauthorized`] names what is missing.
pub fn authorize(
    origin: &Origin,
    role: Role,
    requires: Requirement,
    operations_channel: Option<&ChannelId>,
) -> Result<(), Unauthorized> {
    let (needed, allowed_in) = match requires {
        Requirement::Role(needed) => (needed, None),
        Requirement::AdminOrOperationsChannel if operations_channel == Some(&origin.channel_id) => {
            (Role::Operator, None)
        }
        Requirement::AdminOrOperationsChannel => (
            Role::Admin,
            operations_channel.filter(|_| role == Role::Operator),
        ),
    };
    if role >= needed {
        Ok(())
    } else {
        Err(Unauthorized {
            has: role,
            requires: needed,
            allowed_in: allowed_in.cloned(),
        })
    }
}
