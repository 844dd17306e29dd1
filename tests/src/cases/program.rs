//! The reference agent, with real commands.

use crate::harness::{Program, Test};

#[tokio::test]
async fn the_reference_agent_runs_its_command_for_a_task_and_stops_when_asked() {
    let test = Test::new("program").await;
    let agent = Program::start(
        &test,
        "sh -c 'read prompt; echo \"asked to $prompt in $PWD\"'",
    );
    let id = test.channel.run("say hello").await;
    let card = test.channel.card(&id, "Completed").await;
    let folder = test.folder.path().canonicalize().expect("a folder");
    card.tells(&[&format!("asked to say hello in {}", folder.display())]);
    let status = agent.stop().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_command_that_fails_is_shown_with_what_it_said() {
    let test = Test::new("program-fails").await;
    let _agent = Program::start(&test, "sh -c 'echo no space left >&2; exit 7'");
    let id = test.channel.run("fill the disk").await;
    test.channel
        .card(&id, "Failed")
        .await
        .tells(&["no space left", "7"]);
}

#[tokio::test]
async fn two_megabytes_of_output_end_in_slack_with_the_right_tail() {
    let test = Test::new("megabytes").await;
    let script = r#"seq 1 320000; echo "$BEMATIC_LINE_PREFIX {\"result\":\"counted\"}""#;
    let _agent = Program::start(&test, &format!("sh -c '{script}'"));
    let id = test.channel.run("count").await;
    let card = test.channel.card(&id, "Completed").await;
    card.tells(&["counted"]);
    let (_, output) = card.text.split_once("*Output*").expect("output");
    let lines = output
        .lines()
        .skip_while(|line| line.parse::<u32>().is_err());
    let numbers: Vec<u32> = lines.map_while(|line| line.parse().ok()).collect();
    assert!(numbers.len() > 50, "{}", card.text);
    let expected: Vec<u32> = (320_001 - u32::try_from(numbers.len()).unwrap()..=320_000).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn a_result_of_more_than_a_frame_arrives() {
    let test = Test::new("long-result").await;
    // 60 KB, twice what API Gateway takes in one frame.
    let script =
        r#"printf "%s {\"result\":\"It begins. %61440s It ends.\"}\n" "$BEMATIC_LINE_PREFIX" x"#;
    let _agent = Program::start(&test, &format!("sh -c '{script}'"));
    let id = test.channel.run("tell it all").await;
    test.channel
        .card(&id, "Completed")
        .await
        .tells(&["It begins."]);
}

#[tokio::test]
async fn five_hundred_lines_of_progress_end_with_the_last_steps() {
    let test = Test::new("progress").await;
    let script =
        r#"for i in $(seq 500); do echo "$BEMATIC_LINE_PREFIX {\"step\":\"step $i.\"}"; done"#;
    let _agent = Program::start(&test, &format!("sh -c '{script}'"));
    let id = test.channel.run("tell every step").await;
    let card = test.channel.card(&id, "Completed").await;
    let steps: Vec<String> = (493..=500)
        .map(|number| format!("step {number}."))
        .collect();
    let shown: Vec<_> = card
        .text
        .lines()
        .filter_map(|line| line.split_once("step "))
        .collect();
    let shown: Vec<_> = shown
        .iter()
        .map(|(_, number)| format!("step {number}"))
        .collect();
    assert_eq!(shown, steps, "{}", card.text);
}
