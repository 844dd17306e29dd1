//! A command in Slack runs on an agent and its message tells all of it.

use serde_json::json;

use crate::harness::Test;

#[tokio::test]
async fn a_command_runs_on_the_agent_and_its_card_tells_all() {
    let test = Test::new("happy").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("fix the login bug").await;

    let task = agent.expect_offer().await;
    assert_eq!(task.id, id);
    let folder = test.folder.path().display().to_string();
    assert_eq!(
        task.payload,
        json!({
            "taskId": id, "attempt": 1, "projectId": "website", "botName": "Bematic",
            "command": "run", "prompt": "fix the login bug", "systemPrompt": "Be brief.",
            "localPath": folder, "model": "opus", "maxBudget": 2.5,
            "allowedTools": ["read", "edit"],
            "slackContext": {
                "channelId": test.channel.id, "threadTs": null,
                "userId": test.stack.admin_user_id,
            },
        })
    );
    agent
        .send("TASK_ACK", task.reply_payload(json!({ "accepted": true })))
        .await;
    let first = test.channel.card(&id, "Running on agent").await;
    first.tells(&["fix the login bug", &test.agent_id, "website"]);

    for step in 1..=12 {
        let payload = json!({ "steps": [format!("step {step:02}")], "progress": step * 5 });
        agent
            .send("TASK_PROGRESS", task.reply_payload(payload))
            .await;
    }
    for (seq, delta) in ["one ", "two ", "three\n"].into_iter().enumerate() {
        agent
            .send(
                "TASK_STREAM",
                task.reply_payload(json!({ "delta": delta, "seq": seq })),
            )
            .await;
    }
    let running = test.channel.card(&id, "one two three").await;
    running.tells(&["step 05", "step 12", "60 %"]);
    running.hides(&["step 04"]);

    let completion = json!({
        "result": "Fixed the **login** bug.", "durationMs": 125_000, "estimatedCost": 0.42,
        "inputTokens": 1200, "outputTokens": 34, "model": "opus-5",
        "filesChanged": ["src/login.rs"],
    });
    let message = agent
        .send("TASK_COMPLETE", task.reply_payload(completion))
        .await;
    agent.expect_confirmation(&message).await;
    let last = test.channel.card(&id, "Completed").await;
    last.tells(&[
        "Completed in 2 min 5 s",
        "Fixed the *login* bug.",
        "$0.42",
        "1 200 tokens in, 34 out",
        "opus-5",
        "src/login.rs",
        "one two three",
        "step 12",
    ]);
    assert!(last.summary.contains("Completed"), "{}", last.summary);
    assert_eq!(last.ts, first.ts, "one message, updated");
    assert_eq!(test.channel.messages().await.len(), 1);
    assert_eq!(test.channel.calls("chat.postMessage").await, [200]);
    assert!(agent.unread("SYSTEM_ERROR").is_empty());
}
