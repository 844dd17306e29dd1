//! What `/bm audit` lists, and what is logged of a record that cannot be stored.

use bematic::audit::{AuditActor, AuditOutcome, AuditRecord};

use super::{
    roles::{audit_log, say},
    *,
};
use crate::{functions::secrets::Log, world::CHANNEL};

#[tokio::test]
async fn orders_to_breakers_are_recorded_as_they_are_written() {
    let world = World::new().await;
    for text in [
        "health reset box",
        "health disable box",
        "agent drain box",
        "agent resume box",
    ] {
        world.time.pass(Duration::from_secs(1));
        say(&world, "U1", CHANNEL, text).await;
        assert_eq!(audit_log(&world).await[0].action, text);
    }
}

#[tokio::test]
async fn a_list_says_that_it_is_cut_only_if_it_is() {
    let world = World::new().await;
    let redrive = async || {
        world.time.pass(Duration::from_secs(1));
        say(&world, "U1", CHANNEL, "redrive").await;
    };
    for _ in 0..19 {
        redrive().await;
    }
    // The first list is recorded, too.
    let shown = say(&world, "U1", CHANNEL, "audit").await;
    assert_eq!(shown.lines().count(), 19, "{shown}");
    let shown = say(&world, "U1", CHANNEL, "audit --since 1h").await;
    assert_eq!(shown.lines().count(), 20, "{shown}");
    assert!(!shown.contains("newest"), "{shown}");
    redrive().await;
    let shown = say(&world, "U1", CHANNEL, "audit").await;
    assert_eq!(shown.lines().count(), 21, "{shown}");
    let hint = "20 records; `--until 1m` lists those before, `--user` one person's.";
    assert_eq!(shown.lines().last(), Some(hint));
}

#[tokio::test]
async fn changes_by_administrators_are_listed_with_those_of_people() {
    let world = World::new().await;
    say(&world, "U1", CHANNEL, "redrive").await;
    world.time.pass(Duration::from_mins(1));
    let record = AuditRecord {
        at: world.time.now(),
        request: "bematic-1".to_owned(),
        actor: AuditActor::Administrator {
            machine: "ada@laptop".to_owned(),
            aws_identity: Some("arn:aws:iam::123456789012:user/ada".to_owned()),
        },
        action: "agent rotate box".to_owned(),
        task: None,
        outcome: AuditOutcome::Done,
        code: None,
        security: true,
    };
    let log = &world.unobserved.audit_log;
    log.append(&record, Duration::from_hours(1)).await.unwrap();
    let shown = say(&world, "U1", CHANNEL, "audit").await;
    assert_eq!(
        shown,
        "• just now `arn:aws:iam::123456789012:user/ada` `agent rotate box` on `ada@laptop`\n\
         • 1 min ago <@U1> `redrive` in <#C1>"
    );
    let own = say(&world, "U1", CHANNEL, "audit --user <@U1>").await;
    assert!(own.contains("redrive") && !own.contains("rotate"), "{own}");
}

#[tokio::test]
async fn a_record_that_is_not_stored_is_logged_once_with_what_it_says() {
    let world = World::new().await;
    let log = Log::default();
    let capturing = log.capture();
    world.calls.fail(4, FailurePoint::Before);
    let answer = command(&world, "run fix it", "t1").await;
    drop(capturing);
    assert!(answer.contains("before you repeat it"), "{answer}");
    let logged = log.take();
    let lines = logged.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_error = |line: &Value| {
        let target = line["target"].as_str().unwrap();
        line["level"] == "ERROR" && target.starts_with("bematic")
    };
    let errors: Vec<_> = lines.filter(is_error).collect();
    let [error] = &errors[..] else {
        panic!("{logged}")
    };
    let fields = &error["fields"];
    assert_eq!(fields["message"], "audit record not stored");
    assert_eq!(fields["code"], "AUDIT_UNAVAILABLE");
    assert_eq!(
        (&fields["action"], &fields["outcome"]),
        (&json!("run"), &json!("done"))
    );
}
