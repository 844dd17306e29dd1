//! The texts about roles and the audit log.

use std::time::Duration;

use bematic_protocol::{
    ids::{ChannelId, UserId},
    time::Timestamp,
};

use super::{ago, duration, fit_lines};
use crate::{
    access::{AccessSettings, Outsider, Role, RoleAssignment, Unauthorized},
    audit::{AuditOutcome, AuditRecord},
    slack::mrkdwn::escape,
};

/// Returns the refusal of a command that the person may not give, and what to ask for.
pub(crate) fn unauthorized(refused: &Unauthorized, user: &UserId) -> String {
    let has = match refused.has {
        Role::None => "You have no role here".to_owned(),
        role => format!("You are {role} here"),
    };
    let needed = refused.requires;
    let elsewhere = refused.allowed_in.as_ref();
    let elsewhere = elsewhere.map_or_else(String::new, |it| format!(", or write it in <#{it}>"));
    format!(
        ":no_entry: {has}, and this takes {needed}. Ask an admin for `/bm role <@{user}> \
         {needed}`{elsewhere}."
    )
}

/// Returns the refusal of somebody who is no full member of the workspace, and what to ask for.
pub(crate) fn outsider(outsider: Outsider, channel: &ChannelId) -> String {
    let (answers, others) = match outsider {
        Outsider::Stranger => ("members of its own workspace only", "others"),
        Outsider::Guest => (
            "full members of its workspace only, and you are a guest",
            "guests and people of other workspaces",
        ),
        Outsider::Bot => ("people only, and you are a bot", "others"),
        Outsider::Deactivated => (
            "full members of its workspace only, and your account is deactivated",
            "others",
        ),
    };
    format!(
        ":no_entry: Bematic answers {answers}. An admin admits {others} to this channel with `bematic \
         project edit --channel {channel} --external-users true`."
    )
}

/// What Bematic has to know of a person, and what Slack has not said.
const MEMBERSHIP_QUESTION: &str = "whether you are a full member of this workspace";

/// Returns the refusal of a command because Slack did not answer.
pub(crate) fn membership_unknown() -> String {
    format!(
        ":hourglass: Slack did not say in time {MEMBERSHIP_QUESTION}, and Bematic did nothing. Try again \
         in a minute."
    )
}

/// Returns the refusal of a command because the Slack app may not read who people are.
pub(crate) fn missing_scope() -> String {
    format!(
        ":no_entry: Bematic may not ask Slack {MEMBERSHIP_QUESTION}: its Slack app lacks the scope \
         `users:read`. Ask whoever operates Bematic to update the app from its manifest \
         (`infra/slack/manifest.yaml`) and to reinstall it."
    )
}

/// Returns the refusal of a command because Slack refuses to answer, for a reason that the log has
/// under this code.
pub(crate) fn membership_refused(code: &str) -> String {
    format!(
        ":no_entry: Slack refuses to say {MEMBERSHIP_QUESTION}. Ask whoever operates Bematic to look for \
         `{code}` in the log of `slack-webhook`."
    )
}

pub(crate) fn role_given(user: &UserId, role: Role, is_first_admin: bool) -> String {
    if is_first_admin {
        return format!(
            ":warning: The role is stored, but <@{user}> stays admin: the deployment's parameter \
             `FirstAdmins` says so."
        );
    }
    let may = match role {
        Role::None => "may do nothing now",
        Role::Viewer => "may look at tasks and agents now",
        Role::Operator => "may create, cancel and retry tasks now",
        Role::Admin => "may do everything now, which includes giving roles",
    };
    format!(":white_check_mark: <@{user}> is {role}, and {may}.")
}

/// Lists who may do what: the first admins, the roles that were given, and the role of all others.
pub(crate) fn users(
    settings: &AccessSettings,
    assignments: &[RoleAssignment],
    now: Timestamp,
) -> String {
    let first = settings.first_admins.iter();
    let first = first.map(|user| format!("<@{user}> *admin*, by the deployment"));
    let is_first = |it: &&RoleAssignment| settings.is_first_admin(&it.user_id);
    let given = assignments.iter().filter(|it| !is_first(it)).map(|it| {
        let (user, role, by) = (&it.user_id, it.role, &it.given_by);
        let since = ago(it.given_at, now);
        format!("<@{user}> *{role}*, by <@{by}> {since}")
    });
    let others = format!("Everybody else: *{}*", settings.default_role);
    let lines: Vec<_> = first.chain(given).chain([others]).collect();
    fit_lines(lines.into_iter())
}

/// Lists records of the audit log, newest first.
pub(crate) fn audit_records(records: &[AuditRecord], since: Duration, now: Timestamp) -> String {
    /// What an empty answer advises to look at.
    const LONGER: Duration = Duration::from_hours(7 * 24);
    if records.is_empty() {
        let hint = if since < LONGER {
            " `--since 7d` looks further back."
        } else {
            ""
        };
        return format!(
            "Nothing was recorded in the last {}.{hint}",
            duration(since)
        );
    }
    fit_lines(records.iter().map(|record| audit_line(record, now)))
}

fn audit_line(record: &AuditRecord, now: Timestamp) -> String {
    let (user, channel, at) = (&record.user_id, &record.channel_id, ago(record.at, now));
    let task = record.task.as_ref();
    let task = task.map_or_else(String::new, |id| format!(" `{}`", escape(id)));
    let code = record.code.as_deref().unwrap_or_default();
    let outcome = match record.outcome {
        AuditOutcome::Done => String::new(),
        AuditOutcome::Refused => format!(": refused (`{}`)", escape(code)),
        AuditOutcome::Failed => format!(": failed (`{}`)", escape(code)),
    };
    let action = escape(&record.action);
    format!("• {at} <@{user}> `{action}`{task} in <#{channel}>{outcome}")
}
