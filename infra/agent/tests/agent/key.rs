//! The key of the program itself, and the commands that look for it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process,
};

use bematic_protocol::messages::{AgentMessage, TaskSubmit};
use nix::unistd::{User, geteuid};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{Cloud, Connection, KEY, PROGRAM, program, task};

/// A user without rights that every system has.
const OTHER_USER: &str = "nobody";
/// Prints all that a command sees of its agent without reading its memory.
const LOOK_AROUND: &str = "exec 2>&1; env; tr '\\0' '\\n' </proc/$PPID/environ; tr '\\0' '\\n' </proc/$PPID/cmdline; \
    echo; cat </proc/$PPID/fd/0; echo looked";

/// The program, connected, in a folder of its own.
struct Running {
    _child: Child,
    connection: Connection,
    folder: TempDir,
}

impl Running {
    /// Starts the program as `prepare` changes it.
    async fn start(prepare: impl FnOnce(&mut Command, &Path)) -> Self {
        Self::start_copy(PROGRAM, prepare).await
    }

    async fn start_copy(path: impl AsRef<Path>, prepare: impl FnOnce(&mut Command, &Path)) -> Self {
        let cloud = Cloud::start().await;
        let folder = tempfile::tempdir().unwrap();
        let workdir = folder.path().to_str().unwrap();
        let mut command = program(path.as_ref(), &cloud.url(), workdir);
        prepare(&mut command, folder.path());
        let child = command.spawn().unwrap();
        let (connection, _) = cloud.connected().await;
        Self {
            _child: child,
            connection,
            folder,
        }
    }

    /// Runs a script as a task, and returns its output.
    async fn output(&mut self, script: &str) -> String {
        let task = task(script);
        self.run(&task).await.0
    }

    /// Runs a task, and returns its output and its end.
    async fn run(&mut self, task: &TaskSubmit) -> (String, AgentMessage) {
        self.connection.submit(task).await;
        let (transcript, end) = self.connection.transcript(task.task_id).await;
        (transcript.output, end.message)
    }

    async fn look_around(&mut self) -> String {
        let output = self.output(LOOK_AROUND).await;
        assert!(
            output.contains("BEMATIC_TASK_ID=") && output.ends_with("looked\n"),
            "{output}"
        );
        output
    }
}

/// Gives the program its key by the environment.
fn by_environment(command: &mut Command, _: &Path) {
    command.env("BEMATIC_API_KEY", KEY);
}

fn assert_finds_no_key(output: &str) {
    assert!(!output.contains(KEY), "{output}");
    for name in ["BEMATIC_API_KEY", "CREDENTIALS_DIRECTORY"] {
        assert!(!output.contains(&format!("{name}=")), "{output}");
    }
}

#[tokio::test]
async fn a_command_finds_no_key_in_the_environment_of_its_agent() {
    let mut agent = Running::start(by_environment).await;
    let output = agent.look_around().await;
    assert_finds_no_key(&output);
    // Root can read it, and would have found a key there.
    let environments = output.lines().filter(|line| line.starts_with("PATH="));
    let expected = if geteuid().is_root() { 2 } else { 1 };
    assert_eq!(environments.count(), expected, "{output}");
}

#[tokio::test]
async fn the_key_leaves_the_environment_also_where_a_file_holds_it() {
    let mut agent = Running::start(|command, folder| {
        let file = folder.join("key");
        fs::write(&file, KEY).unwrap();
        command.arg("--api-key-file").arg(file);
        command.env("BEMATIC_API_KEY", "bm_of_another_agent");
    })
    .await;
    let output = agent.look_around().await;
    assert_finds_no_key(&output);
    assert!(!output.contains("bm_of_another_agent"), "{output}");
}

#[tokio::test]
async fn a_key_comes_by_standard_input() {
    let keys = [None, Some("bm_of_another_agent")];
    for in_environment in keys {
        let mut agent = Running::start(|command, folder| {
            let file = folder.join("key");
            fs::write(&file, format!("{KEY}\n")).unwrap();
            command
                .arg("--api-key-file=-")
                .stdin(fs::File::open(&file).unwrap());
            command.envs(in_environment.map(|key| ("BEMATIC_API_KEY", key)));
            fs::remove_file(file).unwrap();
        })
        .await;
        let output = agent
            .output("echo works; exec tr '\\0' '\\n' </proc/$PPID/environ")
            .await;
        assert!(output.starts_with("works\n"), "{output}");
        assert_finds_no_key(&output);
    }
}

#[tokio::test]
async fn a_key_comes_by_a_credential_of_systemd_whose_folder_commands_are_not_told() {
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("bematic-api-key"), KEY).unwrap();
    let mut agent = Running::start(|command, _| {
        command.env("CREDENTIALS_DIRECTORY", credentials.path());
    })
    .await;
    let output = agent.output("env; echo looked").await;
    assert_finds_no_key(&output);
}

#[tokio::test]
async fn a_missing_key_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let workdir = folder.path().to_str().unwrap();
    let mut command = program(PROGRAM, "ws://127.0.0.1:1/x", workdir);
    command.env("CREDENTIALS_DIRECTORY", workdir);
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    for way in ["--api-key-file", "BEMATIC_API_KEY", "bematic-api-key"] {
        assert!(text.contains(way), "{text}");
    }
}

/// An agent that is not root, whatever the tests are, and the folder of its program.
async fn unprivileged_agent() -> (Running, TempDir) {
    let programs = tempfile::tempdir().unwrap();
    let copy = programs.path().join("bematic-agent");
    // By another process: a program that this one has open for writing could not start.
    let copied = process::Command::new("cp").arg(PROGRAM).arg(&copy).status();
    assert!(copied.unwrap().success());
    fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let agent = Running::start_copy(copy, |command, folder| {
        by_environment(command, folder);
        if geteuid().is_root() {
            let user = User::from_name(OTHER_USER).unwrap().unwrap();
            let (user, group) = (user.uid.as_raw(), user.gid.as_raw());
            chown(folder, Some(user), Some(group)).unwrap();
            command.uid(user).gid(group);
        }
    })
    .await;
    (agent, programs)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_of_the_same_user_reads_neither_environment_nor_memory_of_its_agent() {
    let (mut agent, _programs) = unprivileged_agent().await;
    for file in ["environ", "mem", "maps", "auxv"] {
        let script = format!("head -c 1 /proc/$PPID/{file} 2>&1 | tr -d '\\0'; echo; echo looked");
        let output = agent.output(&script).await;
        assert!(output.contains("Permission denied"), "{file}: {output}");
    }
    let output = agent.output("ls -l /proc/$PPID/fd 2>&1; echo looked").await;
    assert!(output.contains("Permission denied"), "{output}");
}

/// The error output and exit code of a program that does not start.
async fn refusal(user: &str) -> (Option<i32>, String) {
    let mut command = program(PROGRAM, "ws://127.0.0.1:1/x", "/");
    by_environment(command.args(["--run-as", user]), Path::new("/"));
    let output = command.output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn a_user_that_commands_cannot_run_as_is_refused_with_advice() {
    for (user, advice) in [
        ("no-such-user-here", "create it first"),
        ("root", "name a user without rights"),
    ] {
        let (code, text) = refusal(user).await;
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains(&format!("--run-as {user}")) && text.contains(advice),
            "{text}"
        );
    }
    if !geteuid().is_root() {
        let (code, text) = refusal(OTHER_USER).await;
        assert!(
            code == Some(2) && text.contains("start the agent as root"),
            "{text}"
        );
    }
}

/// An agent that runs its commands as another user. Only root can have one.
async fn agent_with_other_user() -> Option<Running> {
    if !geteuid().is_root() {
        return None;
    }
    let agent = Running::start(|command, folder| {
        by_environment(command, folder);
        command.args(["--run-as", OTHER_USER]);
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.join("closed")).unwrap();
        let only_root = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder.join("closed"), only_root).unwrap();
    })
    .await;
    Some(agent)
}

#[tokio::test]
async fn commands_run_as_another_user() {
    let Some(mut agent) = agent_with_other_user().await else {
        return;
    };
    let user = User::from_name(OTHER_USER).unwrap().unwrap();
    let output = agent
        .output(
            "id -un; id -u; id -g; id -rG; echo \"$HOME $USER $LOGNAME\"; pwd\n\
             cat; echo by name > /dev/stderr; echo \"by name\" > /dev/stdout\n\
             echo \"$BEMATIC_LINE_PREFIX {\\\"message\\\":\\\"hi\\\"}\"",
        )
        .await;
    let (uid, gid, home) = (user.uid, user.gid, user.dir.display());
    let folder = agent.folder.path().display();
    let expected = format!(
        "{OTHER_USER}\n{uid}\n{gid}\n{gid}\n{home} {OTHER_USER} {OTHER_USER}\n{folder}\nby name\nby name\n"
    );
    assert_eq!(output, expected);
    let output = agent
        .output("cat /proc/$PPID/environ 2>&1; kill -0 $PPID 2>&1; id -u; echo > /new 2>&1")
        .await;
    assert!(
        output.contains("Permission denied") && output.contains("not permitted"),
        "{output}"
    );
}

/// Root's other groups are not the user's.
#[tokio::test]
async fn a_command_of_another_user_has_no_group_of_its_agent() {
    if !geteuid().is_root() {
        return;
    }
    let mut agent = Running::start_copy("setpriv", |command, folder| {
        let arguments: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
        *command = Command::new("setpriv");
        command.args(["--groups=1,2,3", PROGRAM]).args(arguments);
        command.args(["--run-as", OTHER_USER]).kill_on_drop(true);
        by_environment(command, folder);
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    })
    .await;
    let user = User::from_name(OTHER_USER).unwrap().unwrap();
    assert_eq!(agent.output("id -G").await, format!("{}\n", user.gid));
}

#[tokio::test]
async fn a_large_value_is_a_file_that_the_other_user_can_read() {
    let Some(mut agent) = agent_with_other_user().await else {
        return;
    };
    let mut task = task("wc -c < $BEMATIC_SYSTEM_PROMPT_FILE");
    task.system_prompt = "ö".repeat(62_000);
    let (output, _) = agent.run(&task).await;
    assert_eq!(output.trim(), "124000");
}

#[tokio::test]
async fn a_folder_that_the_other_user_cannot_enter_is_explained() {
    let Some(mut agent) = agent_with_other_user().await else {
        return;
    };
    let mut task = task("echo never");
    task.local_path = "closed".to_owned();
    let (_, end) = agent.run(&task).await;
    let AgentMessage::TaskError(failure) = end else {
        panic!("not failed: {end:?}");
    };
    for part in [
        OTHER_USER,
        "cannot enter the folder",
        "/closed'",
        "Permission denied",
    ] {
        assert!(failure.error.contains(part), "{}", failure.error);
    }
}

#[tokio::test]
async fn a_cancellation_ends_the_commands_of_the_other_user() {
    let Some(mut agent) = agent_with_other_user().await else {
        return;
    };
    let task = task("echo on; sleep 1000");
    agent.connection.submit(&task).await;
    agent.connection.output_until(task.task_id, "on").await;
    agent.connection.cancel(task.task_id).await;
    let end = agent.connection.end_of(task.task_id).await;
    assert!(matches!(end, AgentMessage::TaskCancelled(_)), "{end:?}");
}
