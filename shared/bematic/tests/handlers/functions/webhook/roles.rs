//! Who may do what: every command and button as each role, and the audit log of it.

use bematic::{
    access::{Role, RoleAssignment},
    audit::{AuditActor, AuditFilter, AuditOutcome, AuditRecord},
    batch::BatchKind,
    breaker::State,
    command::{Command, RunArguments},
    handlers::webhook::CommandOutcome,
    ports::NotifyMessage,
    task::{Origin, Priority, Task, TaskState},
};
use bematic_protocol::ids::UserId;
use fake_aws::FailurePoint;
use strum::IntoEnumIterator as _;

use super::*;
use crate::world::{CHANNEL, OPERATIONS, SLACK_WEBHOOK, actor, agent_id};

/// A person who is no first admin.
const PERSON: &str = "U7";

/// Every command, with the role that it takes in a channel, and in the operations channel.
const COMMANDS: [(&str, Role, Role); 23] = [
    ("run fix it", Role::Operator, Role::Operator),
    ("run --agent box fix it", Role::Operator, Role::Operator),
    ("status TASK", Role::Viewer, Role::Viewer),
    ("cancel TASK", Role::Operator, Role::Operator),
    ("cancel all", Role::Operator, Role::Operator),
    ("retry TASK", Role::Operator, Role::Operator),
    ("retry failed", Role::Operator, Role::Operator),
    ("archive", Role::Operator, Role::Operator),
    ("tasks", Role::Viewer, Role::Viewer),
    ("agents", Role::Viewer, Role::Viewer),
    ("health", Role::Viewer, Role::Viewer),
    ("health box", Role::Viewer, Role::Viewer),
    ("health reset box", Role::Admin, Role::Operator),
    ("health disable box", Role::Admin, Role::Operator),
    ("agent drain box", Role::Admin, Role::Operator),
    ("agent resume box", Role::Admin, Role::Operator),
    ("dead-letters", Role::Admin, Role::Operator),
    ("redrive", Role::Admin, Role::Operator),
    ("role <@U8|eve> viewer", Role::Admin, Role::Operator),
    ("role <@U8|eve> admin", Role::Admin, Role::Admin),
    ("users", Role::Admin, Role::Operator),
    ("audit", Role::Admin, Role::Admin),
    ("help", Role::None, Role::None),
];

pub(super) async fn give_role(world: &World, user: &str, role: Role) {
    let assignment = RoleAssignment {
        user_id: user.parse().unwrap(),
        role,
        given_by: "U1".parse().unwrap(),
        given_at: world.time.now(),
    };
    world.unobserved.roles.put(&assignment).await.unwrap();
}

pub(super) async fn say(world: &World, user: &str, channel: &str, text: &str) -> String {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("team_id", "T1"),
            ("channel_id", channel),
            ("user_id", user),
            ("command", "/bm"),
            ("text", text),
            ("trigger_id", &format!("{user}-{channel}-{text}")),
        ])
        .finish();
    let response = post(world, "/slack/commands", &body).await;
    let body = response.body.unwrap();
    body["text"].as_str().unwrap().to_owned()
}

/// Somebody presses a button. Returns what that person alone is told.
pub(super) async fn press(
    world: &World,
    user: &str,
    channel: &str,
    button: &str,
    value: &str,
) -> String {
    let payload = json!({
        "type": "block_actions", "user": { "id": user }, "channel": { "id": channel },
        "trigger_id": format!("{user}-{channel}-{button}"),
        "actions": [{ "type": "button", "action_id": button, "value": value }],
    });
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &payload.to_string())
        .finish();
    world.out.take_notified();
    assert_eq!(post(world, "/slack/interactions", &body).await.status, 200);
    let mut told = String::new();
    for message in world.out.take_notified() {
        if let NotifyMessage::Reply(reply) = message {
            assert_eq!(reply.only_for.as_ref().map(UserId::as_str), Some(user));
            assert_eq!(reply.channel_id.as_str(), channel);
            told = reply.text;
        }
    }
    told
}

pub(super) async fn audit_log(world: &World) -> Vec<AuditRecord> {
    let filter = AuditFilter {
        user_id: None,
        since: world.time.now() - Duration::from_hours(24),
        until: world.time.now(),
    };
    world
        .unobserved
        .audit_log
        .newest(&filter, 100)
        .await
        .unwrap()
}

fn is_by(record: &AuditRecord, user: &str) -> bool {
    matches!(&record.actor, AuditActor::Person { user_id, .. } if user_id.as_str() == user)
}

async fn pending_task(world: &World) -> Task {
    world.run("fix it", "set-up").await
}

#[tokio::test]
async fn the_walk_visits_every_command_that_the_help_lists() {
    let world = World::new().await;
    let help = say(&world, "U1", CHANNEL, "help").await;
    let listed = help.lines().filter_map(|line| line.strip_prefix("`/bm "));
    let listed: Vec<_> = listed
        .filter_map(|it| it.split([' ', '`']).next())
        .collect();
    assert!(listed.len() > 10, "{help}");
    for name in listed {
        let is_walked = COMMANDS
            .iter()
            .any(|it| it.0.split(' ').next() == Some(name));
        assert!(is_walked, "{name}");
    }
}

#[tokio::test]
async fn each_command_takes_its_role_and_is_refused_before_it_does_anything() {
    for (text, in_channel, in_operations) in COMMANDS {
        for (channel, needed) in [(CHANNEL, in_channel), (OPERATIONS, in_operations)] {
            for role in Role::iter() {
                let world = World::new().await;
                let text = text.replace("TASK", &pending_task(&world).await.id.to_string());
                give_role(&world, PERSON, role).await;
                world.calls.take();
                let answer = say(&world, PERSON, channel, &text).await;
                let is_refused =
                    answer.starts_with(":no_entry:") && answer.contains("`/bm role` <@U7> `");
                assert_eq!(
                    is_refused,
                    role < needed,
                    "{text} as {role} in {channel}: {answer}"
                );
                if is_refused {
                    assert!(answer.contains(&format!(" takes {needed}")), "{answer}");
                    // Where the operations channel helps is told to those whom it helps.
                    let is_allowed_there = needed > in_operations && role >= in_operations;
                    assert_eq!(answer.contains(OPERATIONS), is_allowed_there, "{answer}");
                    let calls = world.calls.take();
                    let expected = ["BatchGetItem AgentsTable", "PutItem AgentsTable"];
                    assert_eq!(calls, expected, "{text} as {role}");
                    let log = audit_log(&world).await;
                    let by_person = log.iter().find(|it| is_by(it, PERSON));
                    let refused = by_person.unwrap();
                    assert_eq!(refused.code.as_deref(), Some("NOT_ALLOWED"), "{text}");
                    assert!(refused.security && refused.outcome == AuditOutcome::Refused);
                }
            }
        }
    }
}

#[tokio::test]
async fn each_button_takes_the_role_of_its_command() {
    for role in Role::iter() {
        for (channel, reset_needs) in [(CHANNEL, Role::Admin), (OPERATIONS, Role::Operator)] {
            let world = World::new().await;
            give_role(&world, PERSON, role).await;
            world.open_breaker("box").await;
            let told = press(&world, PERSON, channel, "breaker_reset", "box").await;
            let is_reset = world.store.breaker_of(&agent_id()).state == State::Closed;
            assert_eq!(is_reset, role >= reset_needs, "{role} in {channel}: {told}");
            assert_eq!(told.starts_with(":no_entry:"), !is_reset, "{told}");
        }
        let world = World::new().await;
        give_role(&world, PERSON, role).await;
        let task = pending_task(&world).await.id;
        let told = press(&world, PERSON, CHANNEL, "cancel", &task.to_string()).await;
        let state = world.store.task(task).unwrap().state;
        let is_cancelled = matches!(state, TaskState::Cancelled { .. });
        assert_eq!(is_cancelled, role >= Role::Operator, "{role}: {told}");
        assert_eq!(told.starts_with(":no_entry:"), !is_cancelled, "{told}");
        let told = press(&world, PERSON, CHANNEL, "retry", &task.to_string()).await;
        assert_eq!(
            told.starts_with(":no_entry:"),
            role < Role::Operator,
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_mention_takes_the_role_of_run() {
    for role in Role::iter() {
        let world = World::new().await;
        give_role(&world, "U7", role).await;
        let mut body = mention(CHANNEL, "<@UBOT> fix that", "Ev1", None);
        body["event"]["user"] = json!("U7");
        assert_eq!(
            post(&world, "/slack/events", &body.to_string())
                .await
                .status,
            200
        );
        let is_allowed = role >= Role::Operator;
        assert_eq!(
            world.store.all_tasks().len(),
            usize::from(is_allowed),
            "{role}"
        );
        let told = world.out.take_notified();
        let refusal = told.iter().any(|it| {
            matches!(it, NotifyMessage::Reply(reply)
            if reply.text.starts_with(":no_entry:") && reply.thread_ts.is_some())
        });
        assert_eq!(refusal, !is_allowed, "{role}: {told:?}");
    }
}

#[tokio::test]
async fn the_default_role_is_that_of_people_who_were_given_none() {
    let world = World::new().await;
    for (set, expected) in [("none", true), ("viewer", true), ("operator", false)] {
        let ports = world.ports_with(SLACK_WEBHOOK, &[("DEFAULT_ROLE", set)]);
        let executor = world.executor(ports);
        let origin = Origin {
            channel_id: CHANNEL.parse().unwrap(),
            thread_ts: None,
            user_id: PERSON.parse().unwrap(),
        };
        let command = Command::Bulk(BatchKind::Archive);
        let executing = executor.execute(actor(origin), command, set, world.time.now());
        let outcome = executing.await.unwrap();
        let is_refused = matches!(outcome, CommandOutcome::Refused { .. });
        assert_eq!(is_refused, expected, "{set}");
    }
}

#[tokio::test]
async fn a_role_is_given_shown_and_taken_away_and_first_admins_keep_theirs() {
    let world = World::new().await;
    assert!(
        !say(&world, PERSON, CHANNEL, "tasks")
            .await
            .starts_with(":no_entry:")
    );
    let answer = say(&world, "U1", CHANNEL, "role <@U7|eve> none").await;
    assert_eq!(
        answer,
        ":white_check_mark: <@U7> is none, and may do nothing now."
    );
    let refused = say(&world, PERSON, CHANNEL, "tasks").await;
    assert_eq!(
        refused,
        ":no_entry: You have no role here, and this takes viewer. Ask an admin to write `/bm role` \
         <@U7> `viewer`."
    );
    say(&world, "U1", CHANNEL, "role <@U7> ADMIN").await;
    let answer = say(&world, PERSON, CHANNEL, "role <@U1|ada> none").await;
    assert!(answer.contains("stays admin"), "{answer}");
    let users = say(&world, "U1", CHANNEL, "users").await;
    assert_eq!(
        users,
        "<@U1> *admin*, by the deployment\n<@U2> *admin*, by the deployment\n\
         <@U7> *admin*, by <@U1> just now\nEverybody else: *operator*"
    );
    for (text, expected) in [
        ("role", "Say who"),
        ("role ada admin", "is nobody"),
        ("role <@U7>", "Say which role"),
        ("role <@U7> boss", "is no role"),
        ("role <@U7> viewer now", "is no role"),
        ("audit --since 2", "not a duration"),
        ("audit --since 400d", "not a duration"),
        ("audit --user ada", "is nobody"),
        ("audit all", "`audit` has no `all`"),
    ] {
        let answer = say(&world, "U1", CHANNEL, text).await;
        assert!(answer.contains(expected), "{text}: {answer}");
    }
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_with_which_outcome() {
    let world = World::new().await;
    let task = say(&world, PERSON, CHANNEL, "run a secret prompt").await;
    assert!(task.contains("has a new task"), "{task}");
    let id = world.store.all_tasks()[0].id;
    world.time.pass(Duration::from_mins(1));
    say(&world, PERSON, CHANNEL, "redrive").await;
    world.time.pass(Duration::from_mins(1));
    say(&world, "U1", CHANNEL, "tasks").await;
    say(&world, "U1", CHANNEL, "role <@U8> viewer").await;
    let shown = say(&world, "U1", CHANNEL, "audit --since 1h").await;
    assert_eq!(
        shown,
        format!(
            "• just now <@U1> `role U8 viewer` in <#C1>\n\
             • 1 min ago <@U7> `redrive` in <#C1>: refused (`NOT_ALLOWED`)\n\
             • 2 min ago <@U7> `run` `{id}` in <#C1>"
        )
    );
    let own = say(&world, "U1", CHANNEL, "audit --user <@U7|eve> --since 1h").await;
    assert_eq!(own.lines().count(), 2, "{own}");
    let later = say(&world, "U1", CHANNEL, "audit --since 1m --user <@U7>").await;
    assert!(
        later.contains("redrive") && !later.contains("`run`"),
        "{later}"
    );
}

#[tokio::test]
async fn somebody_creates_as_many_tasks_in_an_hour_as_is_allowed() {
    let world = World::new().await;
    let run = async |n: u32| say(&world, PERSON, CHANNEL, &format!("run {n}")).await;
    for n in 0..50 {
        let answer = run(n).await;
        assert!(answer.contains("has a new task"), "{n}: {answer}");
    }
    let refused = run(50).await;
    let left = 3600 - world.time.now().as_secs() % 3600;
    let text =
        ":vertical_traffic_light: You have created 50 tasks in this hour, which is the limit.";
    assert!(refused.starts_with(text), "{refused}");
    assert!(
        refused.contains(&format!("{} min", left / 60)),
        "{refused}: {left} s"
    );
    assert_eq!(world.store.all_tasks().len(), 50);
    // A repeated request is the task that it has created, and others are not concerned.
    assert!(run(7).await.contains("has a new task"));
    let other = say(&world, "U8", CHANNEL, "run it").await;
    assert!(other.contains("has a new task"), "{other}");
    let admin = say(&world, "U1", CHANNEL, "run it").await;
    assert!(admin.contains("has a new task"), "{admin}");
    world.time.pass(Duration::from_secs(left));
    let answer = run(51).await;
    assert!(answer.contains("has a new task"), "{answer}");
}

#[tokio::test]
async fn as_many_tasks_wait_for_an_agent_as_is_allowed() {
    let world = World::new().await;
    let ports = world.ports_with(SLACK_WEBHOOK, &[("AGENT_QUEUE_LENGTH", "3")]);
    let executor = world.executor(ports);
    let run = async |request: &str| {
        let command = Command::Run(RunArguments {
            agent: None,
            priority: Priority::Normal,
            prompt: "fix it".into(),
        });
        let origin = Origin {
            channel_id: CHANNEL.parse().unwrap(),
            thread_ts: None,
            user_id: PERSON.parse().unwrap(),
        };
        let executing = executor.execute(actor(origin), command, request, world.time.now());
        match executing.await.unwrap() {
            CommandOutcome::Refused { code, text } => Err((code, text)),
            CommandOutcome::TaskCreated(task, _) => Ok(task),
            CommandOutcome::Done(reply) => panic!("{reply:?}"),
        }
    };
    let first = run("r0").await.unwrap();
    for request in ["r1", "r2"] {
        run(request).await.unwrap();
    }
    let (code, text) = run("r3").await.unwrap_err();
    assert_eq!(code, "AGENT_QUEUE_FULL");
    assert!(text.contains("3 tasks wait for `box` already"), "{text}");
    assert!(text.contains("room again as soon as"), "{text}");
    assert_eq!(
        run("r0").await.unwrap(),
        first,
        "a repeated request is no new task"
    );
    // The agent begins one: there is room again.
    world.connect("c").await;
    world.dispatch_all().await;
    run("r3").await.unwrap();
}

#[tokio::test]
async fn an_operator_makes_nobody_an_admin_and_unmakes_none() {
    let world = World::new().await;
    give_role(&world, PERSON, Role::Operator).await;
    give_role(&world, "U8", Role::Admin).await;
    for text in [
        "role <@U7> admin",
        "role <@U9> admin",
        "role <@U8> none",
        "role <@U1> viewer",
    ] {
        let answer = say(&world, PERSON, OPERATIONS, text).await;
        assert!(answer.starts_with(":no_entry:"), "{text}: {answer}");
    }
    let answer = say(&world, PERSON, OPERATIONS, "role <@U9> viewer").await;
    assert!(answer.contains("<@U9> is viewer"), "{answer}");
    let admins = world.unobserved.roles.list().await.unwrap();
    let admins = admins.iter().filter(|it| it.role == Role::Admin);
    assert_eq!(admins.count(), 1);
}

/// A minute before each transaction.
struct SlowTransactions;

#[async_trait]
impl Hook for SlowTransactions {
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        if call.operation == "TransactWriteItems" {
            sleep(Duration::from_mins(1)).await;
        }
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_too_long_is_recorded_as_failed() {
    let world = World::new().await;
    world.aws.add_hook(SlowTransactions);
    let answer = timeout(Duration::from_secs(3), command(&world, "run x", "t1")).await;
    let answer = answer.unwrap();
    assert!(answer.contains("before you repeat it"), "{answer}");
    let log = audit_log(&world).await;
    let [record] = &log[..] else {
        panic!("{log:?}")
    };
    assert_eq!(record.outcome, AuditOutcome::Failed);
    assert_eq!(record.code.as_deref(), Some("SLACK_DEADLINE"));
}

#[tokio::test]
async fn a_command_whose_record_is_not_stored_is_not_confirmed_and_can_be_repeated() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        let world = World::new().await;
        world.calls.fail(4, when);
        let answer = command(&world, "run fix it", "t1").await;
        assert!(answer.contains("before you repeat it"), "{answer}");
        assert_eq!(world.store.all_tasks().len(), 1);
        // Slack repeats an event and a button, as it does not a command.
        let again = command(&world, "run fix it", "t1").await;
        assert!(again.contains("has a new task"), "{again}");
        assert_eq!(world.store.all_tasks().len(), 1);
        assert!(!audit_log(&world).await.is_empty());
    }
}

#[tokio::test]
async fn records_expire_by_what_they_are() {
    let world = World::new().await;
    say(&world, "U1", CHANNEL, "archive").await;
    say(&world, "U1", CHANNEL, "role <@U8> viewer").await;
    let now = world.time.now().as_secs();
    let items = world.store.agents_items();
    let days = |action: &str| {
        let item = items
            .iter()
            .find(|it| it["action"] == json!(action))
            .unwrap();
        (item["expiresAt"].as_u64().unwrap() - now) / 86_400
    };
    assert_eq!((days("archive"), days("role U8 viewer")), (90, 365));
}

#[tokio::test]
async fn an_agent_that_the_project_does_not_name_gets_no_task() {
    let world = World::new().await;
    world.add_agent("other").await;
    let answer = say(&world, "U1", CHANNEL, "run --agent other fix it").await;
    assert!(
        answer.contains("does not allow `other`, only `box`"),
        "{answer}"
    );
    assert!(world.store.all_tasks().is_empty());
    world.set_route("box,other").await;
    let answer = say(&world, "U1", CHANNEL, "run --agent other fix that").await;
    assert!(answer.contains("`other` has a new task"), "{answer}");
}

/// Posts to an endpoint, and returns the status and what was stored.
async fn post_form(world: &World, fields: &[(&str, &str)]) -> Response {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let body = form.extend_pairs(fields).finish();
    post(world, "/slack/commands", &body).await
}

#[tokio::test]
async fn a_request_of_another_workspace_or_app_is_refused_although_it_is_signed() {
    let world = World::new().await;
    let command = |team: &'static str, app: &'static str| {
        [
            ("team_id", team),
            ("api_app_id", app),
            ("channel_id", "C1"),
            ("user_id", "U1"),
            ("command", "/bm"),
            ("text", "run fix it"),
            ("trigger_id", "t1"),
        ]
    };
    let code = |response: Response| response.body.unwrap()["error"].clone();
    for (team, app, expected) in [("T9", "A1", "OTHER_WORKSPACE"), ("T1", "A9", "OTHER_APP")] {
        let refused = post_form(&world, &command(team, app)).await;
        assert_eq!(refused.status, 403);
        assert_eq!(code(refused), expected);
        let mut event = mention("C1", "<@UBOT> fix it", "Ev1", None);
        event["team_id"] = json!(team);
        event["api_app_id"] = json!(app);
        let refused = post(&world, "/slack/events", &event.to_string()).await;
        assert_eq!((refused.status, code(refused)), (403, json!(expected)));
        let payload = json!({
            "type": "block_actions", "team": { "id": team }, "api_app_id": app,
            "user": { "id": "U1" }, "channel": { "id": "C1" },
            "actions": [{ "action_id": "breaker_reset", "value": "box" }],
        });
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload.to_string())
            .finish();
        let refused = post(&world, "/slack/interactions", &body).await;
        assert_eq!((refused.status, code(refused)), (403, json!(expected)));
    }
    assert!(world.store.all_tasks().is_empty());
    assert_eq!(world.calls.take(), [""; 0]);
    let accepted = post_form(&world, &command("T2", "A1")).await;
    assert_eq!((accepted.status, world.store.all_tasks().len()), (200, 1));
}

#[tokio::test]
async fn people_of_other_workspaces_are_refused_unless_the_project_admits_them() {
    let world = World::new().await;
    let mut event = mention("C1", "<@UBOT> fix it", "Ev1", None);
    event["event"]["user_team"] = json!("T9");
    let press_cancel = async |task: &str| {
        let payload = json!({
            "type": "block_actions", "team": { "id": "T1" }, "channel": { "id": "C1" },
            "user": { "id": "U8", "team_id": "T9" },
            "actions": [{ "action_id": "cancel", "value": task }],
        });
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload.to_string())
            .finish();
        post(&world, "/slack/interactions", &body).await
    };
    post(&world, "/slack/events", &event.to_string()).await;
    let [NotifyMessage::Reply(reply)] = &world.out.take_notified()[..] else {
        panic!("no reply")
    };
    assert!(
        reply.text.contains("members of its own workspace only"),
        "{reply:?}"
    );
    assert!(
        reply.text.contains("--channel C1 --external-users true"),
        "{reply:?}"
    );
    assert!(world.store.all_tasks().is_empty());
    let task = pending_task(&world).await.id;
    world.out.take_notified();
    press_cancel(&task.to_string()).await;
    assert_eq!(world.store.task(task).unwrap().state.name(), "pending");
    let [NotifyMessage::Reply(reply)] = &world.out.take_notified()[..] else {
        panic!("no reply")
    };
    assert_eq!(reply.only_for.as_ref().map(UserId::as_str), Some("U8"));
    let codes: Vec<_> = audit_log(&world)
        .await
        .into_iter()
        .filter_map(|it| it.code)
        .collect();
    assert_eq!(codes, ["EXTERNAL_USER", "EXTERNAL_USER"]);

    let mut project = world.project();
    project.external_users = true;
    world.set_project(&project).await;
    event["event_id"] = json!("Ev2");
    post(&world, "/slack/events", &event.to_string()).await;
    assert_eq!(world.store.all_tasks().len(), 2);
    press_cancel(&task.to_string()).await;
    assert_eq!(world.store.task(task).unwrap().state.name(), "cancelled");
}
