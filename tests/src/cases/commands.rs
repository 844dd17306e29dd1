//! What an operator types besides `/bm run`, and how.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use crate::harness::{Card, Channel, Test, eventually, shown};

async fn reply(channel: &Channel, thread: local_slack::Ts, words: &str) -> Card {
    eventually(
        &format!("a reply in the thread says {words:?}"),
        async || {
            let thread = channel.thread(thread).await;
            match thread.as_slice() {
                [_, reply] if shown(reply).contains(words) => Ok(Card::of(reply)),
                _ => Err(format!("{thread:#?}")),
            }
        },
    )
    .await
}

#[tokio::test]
async fn tasks_agents_status_and_help_tell_what_there_is() {
    let test = Test::new("00-lists").await;
    // The list of agents is sorted and ends where Slack's limit is: this one is at its head.
    let mut agent = test.connect().await;
    let waiting = test.channel.run("first of all").await;
    let task = agent.accept_next_offer().await;
    let done = test.channel.run("and then this").await;
    let second = agent.accept_next_offer().await;
    agent.complete(&second, "that was easy").await;
    test.channel.card(&waiting, "Running on agent").await;

    let tasks = test.channel.command("/bm tasks").await;
    let lines = [
        ("*processing* first of all", &waiting),
        ("*completed* and then this", &done),
    ];
    for (line, id) in lines {
        assert!(
            tasks.contains(line) && tasks.contains(id.as_str()),
            "{tasks}"
        );
    }
    let agents = test.channel.command("/bm agents").await;
    let line = format!("`{}` online, 1 of 5 running", test.agent_id);
    assert!(agents.contains(&line), "{agents}");
    let status = test.channel.command(&format!("/bm status {done}")).await;
    assert!(
        status.contains("Completed") && status.contains("that was easy"),
        "{status}"
    );
    let help = test.channel.command("/bm help").await;
    for command in [
        "/bm run",
        "/bm status",
        "/bm tasks",
        "/bm agents",
        "/bm help",
    ] {
        assert!(help.contains(command), "{help}");
    }
    agent.complete(&task, "at last").await;
    test.channel.card(&waiting, "Completed").await;
}

#[tokio::test]
async fn a_mention_in_a_thread_is_answered_there() {
    let test = Test::new("thread").await;
    let mut agent = test.connect().await;
    let root = test.channel.say("who knows why it is slow?").await;
    let said = test.channel.mention("find out", Some(root)).await;
    assert_eq!(
        said.delivery.and_then(|delivery| delivery.status),
        Some(200)
    );
    let task = agent.accept_next_offer().await;
    assert_eq!(task.payload["prompt"], "find out");
    assert_eq!(task.payload["slackContext"]["threadTs"], root.to_string());
    agent.complete(&task, "It is the cache.").await;
    let card = eventually("the card in the thread is complete", async || {
        let thread = test.channel.thread(root).await;
        match thread.as_slice() {
            [_, _, card] if shown(card).contains("It is the cache.") => Ok(Card::of(card)),
            _ => Err(format!("{thread:#?}")),
        }
    })
    .await;
    card.tells(&["Completed", &task.id]);
    assert_eq!(
        test.channel.messages().await.len(),
        1,
        "only the thread's first message"
    );
}

#[tokio::test]
async fn a_channel_without_a_project_is_told_how_to_get_one() {
    let test = Test::new("homeless").await;
    let channel = test.channel_without_project().await;
    let advice = format!("bematic project create --channel {}", channel.id);
    let answer = channel.command("/bm run do something").await;
    assert!(
        answer.contains("no project") && answer.contains(&advice),
        "{answer}"
    );
    let said = channel.mention("do something", None).await;
    let reply = reply(&channel, said.ts.expect("a message"), "no project").await;
    reply.tells(&[&advice]);
    let tasks = channel.command("/bm tasks").await;
    assert!(tasks.contains("No task yet"), "{tasks}");
}

#[tokio::test]
async fn what_slack_sends_again_makes_one_task() {
    let test = Test::new("again").await;
    let mut agent = test.connect().await;
    // At the same time: nothing says that an attempt has ended when the next one comes.
    let event = test
        .webhook
        .mention("by event", &format!("Ev{}", test.channel.id));
    let command = test
        .webhook
        .command("run by command", &test.channel.id, Duration::ZERO);
    let requests = [&event, &event, &event, &command, &command];
    let answers = join_all(requests.map(|request| test.webhook.send(request))).await;
    assert!(
        answers.iter().all(|(status, _)| *status == 200),
        "{answers:?}"
    );
    let (status, _) = test.webhook.send(&event).await;
    assert_eq!(status, 200);

    let mut prompts = Vec::new();
    for _ in 0..2 {
        let task = agent.accept_next_offer().await;
        prompts.push(task.payload["prompt"].clone());
        agent.complete(&task, "once").await;
    }
    prompts.sort_by_key(Value::to_string);
    assert_eq!(prompts, ["by command", "by event"]);
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("TASK_SUBMIT").is_empty());
    let tasks = test.channel.command("/bm tasks").await;
    assert_eq!(tasks.matches("*completed*").count(), 2, "{tasks}");
    assert_eq!(tasks.lines().count(), 4, "two lines a task\n{tasks}");
}
