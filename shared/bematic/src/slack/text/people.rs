//! The texts about roles and the audit log.

use std::time::Duration;

use bematic_protocol::{
    ids::{ChannelId, UserId},
    time::Timestamp,
};

use super::{ago, duration, fit_lines, take_fitting_lines};
use crate::{
    access::{AccessSettings, Outsider, Role, RoleAssignment, Unauthorized},
    audit::{AuditActor, AuditOutcome, AuditRecord},
    slack::mrkdwn::{escape, escape_one_line},
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
        ":no_entry: {has}, and this takes {needed}. Ask an admin to write `/bm role` <@{user}> \
         `{needed}`{elsewhere}."
    )
}

/// Returns the refusal of somebody who is no full member of the workspace, and what to ask for.
pub(crate) fn outsider(outsider: Outsider, channel: &ChannelId, has_project: bool) -> String {
    let (answers, others) = match outsider {
        Outsider::External => ("members of its own workspace only", "others"),
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
    let how = if has_project {
        format!("edit --channel {channel} --external-users true")
    } else {
        format!(
            "create --channel {channel} --name &lt;name&gt; --agent &lt;agent&gt; --local-path &lt;folder \
             on its machine&gt; --external-users"
        )
    };
    format!(
        ":no_entry: Bematic answers {answers}. An admin admits {others} to this channel with `bematic \
         project {how}`."
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

/// Returns the refusal of a command because Slack refuses to answer, or cannot be asked, for a reason
/// that the log has under this code.
pub(crate) fn membership_refused(code: &str) -> String {
    format!(
        ":no_entry: Bematic cannot ask Slack {MEMBERSHIP_QUESTION}. If it still cannot in a minute, ask \
         whoever operates it to look for `{code}` in the log of `slack-webhook`."
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

/// Lists records of the audit log, newest first, and at most `max` of them. If there are more, the
/// answer says so.
pub(crate) fn audit_records(
    records: &[AuditRecord],
    max: usize,
    since: Duration,
    now: Timestamp,
) -> String {
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
    let more = |shown, age: Duration| {
        // Rounded down, so that the next list misses nothing.
        let minutes = (age.as_secs() / 60).max(1);
        format!(
            "\n{shown} records; `--until {minutes}m` lists those before, `--user` one person's."
        )
    };
    let lines = records.iter().take(max).map(|it| audit_line(it, now));
    let (mut text, shown) = take_fitting_lines(lines, more(max, Duration::MAX).len());
    if let Some(last) = shown.checked_sub(1).filter(|_| shown < records.len()) {
        text.push_str(&more(shown, now.since(records[last].at)));
    }
    text
}

fn audit_line(record: &AuditRecord, now: Timestamp) -> String {
    let (who, place) = match &record.actor {
        AuditActor::Person {
            user_id,
            channel_id,
        } => (format!("<@{user_id}>"), format!("in <#{channel_id}>")),
        AuditActor::Administrator {
            machine,
            aws_identity,
        } => {
            let unknown = || "somebody of an unknown AWS identity".to_owned();
            let who = aws_identity.as_deref().map_or_else(unknown, inline_code);
            (who, format!("on {}", inline_code(machine)))
        }
    };
    let at = ago(record.at, now);
    let task = record.task.as_ref();
    let task = task.map_or_else(String::new, |id| format!(" `{}`", escape(id)));
    let code = record.code.as_deref();
    let code = code.map_or_else(String::new, |code| format!(" (`{}`)", escape(code)));
    let outcome = match record.outcome {
        AuditOutcome::Done => String::new(),
        AuditOutcome::Refused => format!(": refused{code}"),
        AuditOutcome::Failed => format!(": failed{code}"),
    };
    let action = escape(&record.action);
    format!("• {at} {who} `{action}`{task} {place}{outcome}")
}

/// Renders a text that others have chosen as one piece of code. A backtick would end it.
fn inline_code(text: &str) -> String {
    /// The number of characters of an ARN in a list; the usual ones have less.
    const MAX_CHARS: usize = 200;
    let text = text.replace('`', "'");
    format!("`{}`", escape_one_line(&text, MAX_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn record(arn: Option<&str>) -> AuditRecord {
        AuditRecord {
            at: NOW,
            request: "1".to_owned(),
            actor: AuditActor::Administrator {
                machine: "ada@<laptop>".to_owned(),
                aws_identity: arn.map(ToOwned::to_owned),
            },
            action: "agent create box".to_owned(),
            task: None,
            outcome: AuditOutcome::Refused,
            code: Some("AGENT_EXISTS".to_owned()),
            security: true,
        }
    }

    fn list(records: &[AuditRecord]) -> String {
        audit_records(records, 20, Duration::from_hours(24), NOW)
    }

    #[test]
    fn an_administrator_is_an_arn_that_cannot_leave_its_code() {
        let shown = list(&[record(Some("arn:aws:iam::1:user/a`<@U1>\n*b*/ada"))]);
        assert_eq!(
            shown,
            "• just now `arn:aws:iam::1:user/a'&lt;@U1&gt; *b*/ada` `agent create box` on \
             `ada@&lt;laptop&gt;`: refused (`AGENT_EXISTS`)"
        );
        let shown = list(&[record(None)]);
        assert!(shown.contains("unknown AWS identity `agent"), "{shown}");
    }

    #[test]
    fn a_list_says_how_many_are_shown_only_if_there_are_more() {
        let arn = format!("arn:aws:sts::1:assumed-role/{}", "r".repeat(40));
        let records = vec![record(Some(&arn)); 21];
        let short = list(&records[..3]);
        assert_eq!(short.lines().count(), 3, "{short}");
        let long = list(&records);
        let shown = long.lines().count() - 1;
        assert!(shown < 20, "the lines do not fit: {shown}");
        let last = long.lines().last().unwrap();
        let hint =
            format!("{shown} records; `--until 1m` lists those before, `--user` one person's.");
        assert_eq!(last, hint);
    }
}
