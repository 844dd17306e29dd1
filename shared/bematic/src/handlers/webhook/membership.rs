//! How the person who gives a command belongs to the workspace: as stored, or as Slack says.

use std::time::Duration;

use bematic_protocol::{ids::UserId, time::Timestamp};
use tokio::time::timeout;
use tracing::{error, warn};

use super::{CommandExecutor, CommandOutcome};
use crate::{
    access::{Actor, CheckedMembership, Membership, Outsider},
    error::chain,
    ports::PersonInChannel,
    slack::{api::SlackError, text},
};

/// The time limit of a question to Slack, with the reading of the bot token: a command has 2.2 s, and
/// what it does after Slack's answer takes less than a second.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// The time limit of the write of what Slack said, so that the command's own calls have theirs.
const STORE_WITHIN: Duration = Duration::from_millis(300);

impl CommandExecutor {
    /// Returns the refusal of somebody who is no full member of the workspace, unless the channel's
    /// project admits such people. First admins, whom the deployment names, are members: they can still
    /// give commands if the app may not ask Slack.
    pub(super) async fn refuse_outsider(
        &self,
        actor: &Actor,
        found: &PersonInChannel,
        now: Timestamp,
    ) -> Option<CommandOutcome> {
        let (user, channel) = (&actor.origin.user_id, &actor.origin.channel_id);
        if found.project.as_ref().is_some_and(|it| it.external_users) {
            return None;
        }
        let membership = if actor.is_external {
            Membership::Outsider(Outsider::External)
        } else if self.ports.settings.access.is_first_admin(user) {
            Membership::Full
        } else {
            match self.membership(user, found.membership.as_ref(), now).await {
                Ok(membership) => membership,
                Err(error) => return Some(refuse_unknown(&error)),
            }
        };
        match membership {
            Membership::Full => None,
            Membership::Outsider(outsider) => {
                let text = text::outsider(outsider, channel, found.project.is_some());
                Some(CommandOutcome::refused(outsider.into(), text))
            }
        }
    }

    /// Returns how a person belongs to the workspace: what is `known` if that is recent, and otherwise
    /// what Slack says, which is stored. While Slack does not say it, what is known is used on.
    async fn membership(
        &self,
        user: &UserId,
        known: Option<&CheckedMembership>,
        now: Timestamp,
    ) -> Result<Membership, SlackError> {
        if let Some(known) = known.filter(|it| it.is_recent(now)) {
            return Ok(known.membership);
        }
        let membership = match (self.ask_slack(user).await, known) {
            (Ok(membership), _) => membership,
            (Err(error), Some(known)) if known.is_usable(now) => {
                let (code, error) = (error.code(), chain(&error));
                warn!(code, %error, "membership not checked again: the known one is used");
                return Ok(known.membership);
            }
            (Err(error), _) => {
                error!(code = error.code(), error = %chain(&error), "membership unknown");
                return Err(error);
            }
        };
        let checked = CheckedMembership {
            user_id: user.clone(),
            membership,
            checked_at: now,
        };
        // What Slack has said holds without the record: the next command asks again.
        match timeout(STORE_WITHIN, self.ports.memberships.put(&checked)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let code: &str = (&error).into();
                warn!(code, error = %chain(&error), "membership not stored");
            }
            Err(_) => warn!("membership not stored in time"),
        }
        Ok(membership)
    }

    /// Asks Slack how a person belongs to the workspace, within [`ASK_WITHIN`].
    async fn ask_slack(&self, user: &UserId) -> Result<Membership, SlackError> {
        let asked = timeout(ASK_WITHIN, self.workspace.membership(user)).await;
        asked.unwrap_or_else(|elapsed| {
            Err(SlackError::Unavailable {
                method: "users.info",
                source: elapsed.into(),
            })
        })
    }
}

/// Returns the refusal of a command because Slack has not said who gives it. The code and the text say
/// who can help.
fn refuse_unknown(error: &SlackError) -> CommandOutcome {
    match error {
        error if error.is_missing_scope() => {
            CommandOutcome::refused("SLACK_SCOPE_MISSING", text::missing_scope())
        }
        SlackError::RateLimited { .. } | SlackError::Unavailable { .. } => {
            CommandOutcome::refused("MEMBERSHIP_UNKNOWN", text::membership_unknown())
        }
        SlackError::TokenRefused { .. }
        | SlackError::TokenUnknown { .. }
        | SlackError::Refused { .. }
        | SlackError::Gone { .. } => {
            let code = error.code();
            CommandOutcome::refused(code, text::membership_refused(code))
        }
    }
}
