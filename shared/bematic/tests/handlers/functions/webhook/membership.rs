//! Guests, bots and others who are no full members of the workspace: what Slack is asked, what is
//! believed, and what is refused.

use bematic::{
    access::{CheckedMembership, Membership, Outsider, Role},
    audit::AuditOutcome,
    ports::NotifyMessage,
};
use local_slack::{Fault, User};

use super::roles::{audit_log, give_role, press, say};
use super::*;
use crate::world::{CHANNEL, OPERATIONS, person};

/// A full member of whom nothing is stored.
const UNCHECKED: &str = "U5";
/// A person whom a test makes an outsider.
const OTHER: &str = "U6";

const READ: &str = "BatchGetItem AgentsTable";
const ASK: &str = "users.info";
/// The write of what Slack said, and of an audit record.
const WRITE: &str = "PutItem AgentsTable";
/// The calls of `/bm run` by somebody of whom Slack has said lately who it is.
const RUN: [&str; 5] = [
    READ,
    "Query TasksTable",
    "TransactWriteItems TasksTable AgentsTable",
    "SendMessage DispatchQueue",
    WRITE,
];
const MEMBER: Membership = Membership::Full;
const GUEST: Membership = Membership::Outsider(Outsider::Guest);

/// A change of what Slack says of a person.
type Change = fn(&mut User);

/// Makes [`OTHER`] a guest at Slack.
fn add_guest(world: &World) {
    let guest = User {
        is_restricted: true,
        ..person(OTHER)
    };
    world.slack.set_person(guest);
}

async fn admit_outsiders(world: &World) {
    let mut project = world.project();
    project.external_users = true;
    world.set_project(&project).await;
}

/// Has a call to Slack take longer than anybody waits.
fn hang() -> Fault {
    Fault {
        delay_ms: 60_000,
        ..Fault::with_error(ASK, "internal_error")
    }
}

/// Somebody runs a task, and is refused with this code; Slack is asked, and nothing else is done but to
/// write down what Slack said and that somebody was refused.
async fn assert_refused(world: &World, user: &str, code: &str, says: &str) {
    world.calls.take();
    let answer = say(world, user, CHANNEL, "run fix it").await;
    assert!(answer.contains(says), "{answer}");
    assert_eq!(world.calls.take(), [READ, ASK, WRITE, WRITE]);
    assert!(world.store.all_tasks().is_empty());
    let [refused] = &audit_log(world).await[..] else {
        panic!("one record")
    };
    assert_eq!(refused.code.as_deref(), Some(code));
    assert_eq!(refused.outcome, AuditOutcome::Refused);
    assert!(refused.security, "kept as long as security events are");
}

#[tokio::test]
async fn whoever_is_no_full_member_is_refused_and_told_what_to_ask_for() {
    let admit = "`bematic project edit --channel C1 --external-users true`";
    let guest = "you are a guest. An admin admits guests and people of other workspaces";
    let cases: [(Change, &str, &str); 5] = [
        (|it| it.is_restricted = true, "GUEST_USER", guest),
        (|it| it.is_ultra_restricted = true, "GUEST_USER", guest),
        (|it| it.is_bot = true, "BOT_USER", "you are a bot"),
        (|it| it.deleted = true, "DEACTIVATED_USER", "deactivated"),
        (
            |it| it.is_stranger = true,
            "EXTERNAL_USER",
            "members of its own workspace only",
        ),
    ];
    for (change, code, says) in cases {
        let world = World::new().await;
        let mut user = person(OTHER);
        change(&mut user);
        world.slack.set_person(user);
        assert_refused(&world, OTHER, code, says).await;
        let again = say(&world, OTHER, CHANNEL, "help").await;
        assert!(
            again.starts_with(":no_entry:") && again.contains(admit),
            "{again}"
        );
    }
    let world = World::new().await;
    assert_refused(&world, "U404", "EXTERNAL_USER", admit).await;
}

#[tokio::test]
async fn a_guest_is_refused_at_mentions_and_buttons_too() {
    let world = World::new().await;
    add_guest(&world);
    let task = world.run("fix it", "set-up").await.id;
    world.out.take_notified();
    let told = press(&world, OTHER, CHANNEL, "cancel", &task.to_string()).await;
    assert!(told.contains("you are a guest"), "{told}");
    assert_eq!(world.store.task(task).unwrap().state.name(), "pending");
    let told = press(&world, OTHER, OPERATIONS, "breaker_reset", AGENT).await;
    assert!(told.contains("you are a guest"), "{told}");
    let mut body = mention(CHANNEL, "<@UBOT> fix that", "Ev1", None);
    body["event"]["user"] = json!(OTHER);
    let answer = post(&world, "/slack/events", &body.to_string()).await;
    assert_eq!(answer.status, 200);
    let [NotifyMessage::Reply(reply)] = &world.out.take_notified()[..] else {
        panic!("no reply")
    };
    assert!(reply.text.contains("you are a guest"), "{reply:?}");
    assert_eq!(world.store.all_tasks().len(), 1);
}

#[tokio::test]
async fn no_role_makes_a_guest_a_member() {
    let world = World::new().await;
    add_guest(&world);
    give_role(&world, OTHER, Role::Admin).await;
    assert_refused(&world, OTHER, "GUEST_USER", "you are a guest").await;
}

#[tokio::test]
async fn a_project_that_admits_outsiders_admits_guests_and_slack_is_not_asked() {
    let world = World::new().await;
    add_guest(&world);
    admit_outsiders(&world).await;
    for user in [OTHER, "U404", UNCHECKED] {
        world.calls.take();
        let answer = say(&world, user, CHANNEL, "run fix it").await;
        assert!(answer.contains("has a new task"), "{answer}");
        assert_eq!(world.calls.take(), RUN);
    }
    // A guest has the role of people who were given none, and is one elsewhere.
    let answer = say(&world, OTHER, CHANNEL, "redrive").await;
    assert!(answer.contains("You are operator here"), "{answer}");
    let answer = say(&world, OTHER, OPERATIONS, "tasks").await;
    assert!(answer.contains("you are a guest"), "{answer}");
}

#[tokio::test]
async fn slack_is_asked_at_the_first_command_of_a_person_and_then_once_a_day() {
    let world = World::new().await;
    let run = async |text: &str| {
        world.calls.take();
        let answer = say(&world, UNCHECKED, CHANNEL, text).await;
        assert!(answer.contains("has a new task"), "{answer}");
        world.calls.take()
    };
    let first = [&[READ, ASK, WRITE], &RUN[1..]].concat();
    assert_eq!(run("run one").await, first);
    assert_eq!(run("run two").await, RUN);
    let last = Duration::from_millis(1);
    world
        .time
        .pass(CheckedMembership::BELIEVED_FOR.saturating_sub(last));
    assert_eq!(run("run three").await, RUN);
    world.time.pass(last);
    assert_eq!(run("run four").await, first);
    assert_eq!(run("run five").await, RUN);
    let items = world.store.agents_items();
    let mut records = items.iter().filter(|it| it["membership"] == "full");
    let record = records.find(|it| it["pk"] == "USER#U5").unwrap();
    let kept = CheckedMembership::KEPT_FOR.as_secs();
    assert_eq!(record["expiresAt"], world.time.now().as_secs() + kept);
}

#[tokio::test]
async fn what_slack_says_of_a_person_replaces_what_was_known() {
    let world = World::new().await;
    assert!(
        !say(&world, UNCHECKED, CHANNEL, "tasks")
            .await
            .starts_with(":no_entry:")
    );
    let guest = User {
        is_restricted: true,
        ..person(UNCHECKED)
    };
    world.slack.set_person(guest);
    world.time.pass(CheckedMembership::BELIEVED_FOR);
    let answer = say(&world, UNCHECKED, CHANNEL, "tasks").await;
    assert!(answer.contains("you are a guest"), "{answer}");
    world.slack.set_person(person(UNCHECKED));
    world.time.pass(CheckedMembership::BELIEVED_FOR);
    assert!(
        !say(&world, UNCHECKED, CHANNEL, "tasks")
            .await
            .starts_with(":no_entry:")
    );
}

#[tokio::test]
async fn a_first_admin_is_a_member_whatever_slack_says() {
    let world = World::new().await;
    let guest = User {
        is_restricted: true,
        ..person("U1")
    };
    world.slack.set_person(guest);
    world.calls.take();
    let answer = say(&world, "U1", CHANNEL, "run fix it").await;
    assert!(answer.contains("has a new task"), "{answer}");
    assert_eq!(world.calls.take(), RUN);
}

#[tokio::test]
async fn slack_is_not_asked_about_people_of_another_workspace() {
    let world = World::new().await;
    let mut body = mention(CHANNEL, "<@UBOT> fix it", "Ev1", None);
    body["event"]["user"] = json!(UNCHECKED);
    body["event"]["user_team"] = json!("T9");
    world.calls.take();
    post(&world, "/slack/events", &body.to_string()).await;
    assert_eq!(
        world.calls.take(),
        [READ, WRITE, "SendMessage NotificationsQueue"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_used_for_a_week_while_slack_does_not_answer() {
    let faults: [fn() -> Fault; 4] = [
        hang,
        || Fault::rate_limited(ASK, 30),
        || Fault::with_error(ASK, "service_unavailable"),
        || Fault::with_error(ASK, "missing_scope"),
    ];
    for fault in faults {
        for (known, says) in [(MEMBER, "No task yet"), (GUEST, "you are a guest")] {
            let world = World::new().await;
            world.check_membership(OTHER, known).await;
            let last = Duration::from_secs(1);
            world
                .time
                .pass(CheckedMembership::KEPT_FOR.saturating_sub(last));
            world.slack.fail(fault());
            world.calls.take();
            let answer = say(&world, OTHER, CHANNEL, "tasks").await;
            assert!(answer.contains(says), "{answer}");
            assert!(world.calls.take().contains(&ASK.to_owned()));
            // The next command asks again: what was known is no younger.
            world.time.pass(last);
            world.slack.fail(fault());
            let answer = say(&world, OTHER, CHANNEL, "tasks").await;
            assert!(answer.contains("whether you are a full member"), "{answer}");
        }
    }
}

/// The refusal of a person of whom nothing is known, while `fault` is Slack's answer. The person is then
/// accepted, when Slack answers again.
#[expect(clippy::disallowed_methods, reason = "a test measures tokio's time")]
async fn refusal(fault: Fault, code: &str) -> String {
    let world = World::new().await;
    world.slack.fail(fault);
    let began = tokio::time::Instant::now();
    let answer = say(&world, UNCHECKED, CHANNEL, "run fix it").await;
    assert!(began.elapsed() < Duration::from_millis(1100));
    assert_eq!(world.calls.take(), [READ, ASK, WRITE]);
    assert!(world.store.all_tasks().is_empty());
    let [refused] = &audit_log(&world).await[..] else {
        panic!("one record")
    };
    assert_eq!(refused.code.as_deref(), Some(code), "{answer}");
    assert_eq!(refused.outcome, AuditOutcome::Refused);
    assert!(!refused.security, "nobody did what is not allowed");
    let next = say(&world, UNCHECKED, CHANNEL, "run fix it").await;
    assert!(next.contains("has a new task"), "{next}");
    answer
}

#[tokio::test(start_paused = true)]
async fn a_person_of_whom_nothing_is_known_is_refused_while_slack_does_not_answer() {
    const TRY_AGAIN: &str = ":hourglass: Slack did not say in time whether you are a full member of \
        this workspace, and Bematic did nothing. Try again in a minute.";
    for fault in [
        hang(),
        Fault::rate_limited(ASK, 30),
        Fault::with_error(ASK, "internal_error"),
    ] {
        assert_eq!(refusal(fault, "MEMBERSHIP_UNKNOWN").await, TRY_AGAIN);
    }
}

#[tokio::test]
async fn an_app_that_may_not_ask_says_which_scope_it_needs_and_how_to_give_it() {
    let missing = Fault::with_error(ASK, "missing_scope");
    assert_eq!(
        refusal(missing, "SLACK_SCOPE_MISSING").await,
        ":no_entry: Bematic may not ask Slack whether you are a full member of this workspace: its \
         Slack app lacks the scope `users:read`. Ask whoever operates Bematic to update the app from \
         its manifest (`infra/slack/manifest.yaml`) and to reinstall it."
    );
    for (error, code) in [
        ("token_revoked", "SLACK_TOKEN_REFUSED"),
        ("access_denied", "SLACK_REFUSED"),
    ] {
        let answer = refusal(Fault::with_error(ASK, error), code).await;
        assert!(answer.contains("cannot ask Slack"), "{answer}");
        assert!(answer.contains(&format!("`{code}`")), "{answer}");
    }
}

#[tokio::test]
async fn a_first_command_that_fails_at_any_call_and_is_repeated_creates_one_task() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for call in 0.. {
            let world = World::new().await;
            world.calls.take();
            world.calls.fail(call, when);
            let first = say(&world, UNCHECKED, CHANNEL, "run fix it").await;
            if world.calls.unused_failure() {
                assert_eq!(call, 7, "each of the calls has failed");
                break;
            }
            let made = world.calls.take();
            let tasks = world.store.all_tasks().len();
            // Without the answer of Slack nothing is done; without the record of it, all is.
            match call {
                0 => assert!(first.contains("STORE_UNAVAILABLE"), "{first}"),
                1 => assert!(first.contains("Slack did not say"), "{first}"),
                2 => assert!(first.contains("has a new task"), "{first}: {made:?}"),
                _ => {}
            }
            assert!(call > 1 || tasks == 0, "{call}: {made:?}");
            let again = say(&world, UNCHECKED, CHANNEL, "run fix it").await;
            assert!(again.contains("has a new task"), "{call}: {again}");
            assert_eq!(world.store.all_tasks().len(), 1, "{call} {when:?}");
        }
    }
}

#[tokio::test]
async fn the_bot_token_is_read_when_slack_is_first_asked() {
    let world = World::new().await;
    let webhook = world.webhook_that_reads_its_secret();
    let answer = async |user: &str| {
        world.calls.take();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("team_id", "T1"),
                ("channel_id", CHANNEL),
                ("user_id", user),
                ("command", "/bm"),
                ("text", "tasks"),
                ("trigger_id", user),
            ])
            .finish();
        let timestamp = world.time.now().as_secs().to_string();
        let signature = sign(&SecretString::from(SECRET), &timestamp, body.as_bytes()).unwrap();
        let request = Request {
            path: "/slack/commands",
            timestamp: Some(&timestamp),
            signature: Some(&signature),
            body: body.as_bytes(),
        };
        assert_eq!(webhook.handle(request).await.status, 200);
        world.calls.take()
    };
    let secrets = |made: Vec<String>| {
        let secrets = made
            .into_iter()
            .filter(|it| it.starts_with("GetSecretValue"));
        secrets.collect::<Vec<_>>()
    };
    // A first admin, and somebody of whom Slack need not be asked.
    assert_eq!(
        secrets(answer("U1").await),
        ["GetSecretValue SigningSecret"]
    );
    assert_eq!(secrets(answer("U7").await), [""; 0]);
    assert_eq!(
        secrets(answer(UNCHECKED).await),
        ["GetSecretValue BotToken"]
    );
    assert_eq!(secrets(answer(OTHER).await), [""; 0]);
}
