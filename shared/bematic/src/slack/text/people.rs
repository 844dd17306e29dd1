//! The texts about roles and the audit log.

use std::time::Duration;

use bematic_protocol::{
    ids::{ChannelId, UserId},
    time::Timestamp,
};

use super::{ago, duration, fit_lines};
use crate::{
    access::{AccessSettings, Role, RoleAssignment, Unauthorized},
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

/// Returns the refusal of somebody of another workspace, in a channel that is shared with it.
pub(crate) fn external_user(channel: &ChannelId) -> String {
    format!(
        ":no_entry: Bematic answers members of its own workspace only. An admin admits others to this \
         channel with `bematic project edit --channel {channel} --external-users true`."
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
    let is_first = |it: &&RoleAssignment| settings.first_admins.contains(&it.user_id);
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
