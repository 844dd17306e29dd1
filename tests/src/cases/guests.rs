//! People of whom Slack says that they are guests, or full members.

use local_slack::User;

use crate::harness::{Test, unique};

#[tokio::test]
async fn a_guest_is_refused_and_a_full_member_who_is_new_is_not() {
    let test = Test::new("guests").await;
    let member = User {
        id: format!("U{}", unique().to_uppercase()),
        name: "new".to_owned(),
        real_name: "New Member".to_owned(),
        ..User::default()
    };
    let guest = User {
        id: format!("U{}", unique().to_uppercase()),
        is_restricted: true,
        ..member.clone()
    };
    let refused = test.channel.command_of(&guest, "/bm run do it").await;
    assert!(refused.contains("you are a guest"), "{refused}");
    let admit = format!("--channel {} --external-users true", test.channel.id);
    assert!(refused.contains(&admit), "{refused}");
    // A full member finds that the guest has created no task.
    let tasks = test.channel.command_of(&member, "/bm tasks").await;
    assert!(tasks.contains("No task yet"), "{tasks}");
}
