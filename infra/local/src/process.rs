//! Processes that outlive a step, and the record by which they are ended. It has the id and the start
//! time of each, so that another process that has got the same id since is left alone.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The file in a stack's folder that other tools read.
pub(crate) const STACK_FILE: &str = "stack.json";
const PROCESSES_FILE: &str = "processes.json";
/// The time that a process has to end after SIGTERM before it gets SIGKILL.
const SIGTERM_GRACE_PERIOD: Duration = Duration::from_secs(15);
/// The interval at which a process of another parent is checked.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// One process of a running stack.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedProcess {
    name: String,
    pid: i32,
    /// The start time, in the system's own notation.
    started: String,
    /// Whether the process leads a process group of its own, which ends with it.
    group: bool,
}

impl RecordedProcess {
    /// Whether this very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }

    /// Ends the process and its group: with SIGTERM, and with SIGKILL if they do not end in time.
    async fn end(&self, grace: Duration) -> Result<()> {
        if !self.may_signal() {
            return Ok(());
        }
        let (name, pid) = (&self.name, self.pid);
        let signal_it = if self.group { killpg } else { kill };
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            match signal_it(Pid::from_raw(pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                sent => sent.with_context(|| format!("{name} (process {pid}) cannot be ended"))?,
            }
            let gone = async {
                while self.process_or_group_runs() {
                    sleep(EXIT_POLL_INTERVAL).await;
                }
            };
            if timeout(grace, gone).await.is_ok() {
                return Ok(());
            }
        }
        bail!("{name} (process {pid}) does not end")
    }

    /// A group keeps its id from being given away, also after its leader has ended; so only
    /// another process in the leader's place forbids the signal.
    fn may_signal(&self) -> bool {
        start_time(self.pid).map_or(self.group, |started| started == self.started)
    }

    fn process_or_group_runs(&self) -> bool {
        self.is_alive() || (self.group && self.may_signal() && group_runs(self.pid))
    }
}

/// Returns the start time of a running process. `None` if there is none of this id.
fn start_time(pid: i32) -> Option<String> {
    if fs::exists("/proc/self/stat").unwrap_or(false) {
        return Some(read_stat(pid)?.1);
    }
    let output = StdCommand::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

/// Returns the group and the start time of a process, from `/proc`.
fn read_stat(pid: i32) -> Option<(i32, String)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses `/proc/<pid>/stat`: the name in brackets may hold anything, and is followed by fields. The
/// first is the state, the third the group, the twentieth the start in clock ticks since the machine's.
/// `None` for a process that has ended and is not yet collected by its parent.
fn parse_stat(stat: &str) -> Option<(i32, String)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, group) = (fields.next()?, fields.nth(1)?.parse().ok()?);
    let started = fields.nth(16)?.to_owned();
    (state != "Z").then_some((group, started))
}

/// Whether a process group has a member that runs; collected or not is not told apart off Linux.
fn group_runs(group: i32) -> bool {
    if killpg(Pid::from_raw(group), None).is_err() {
        return false;
    }
    let Ok(processes) = fs::read_dir("/proc") else {
        return true;
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .any(|pid| read_stat(pid).is_some_and(|(of, _)| of == group))
}

/// The processes of one stack. Each is recorded in a file before anything else is done with it.
#[derive(Debug)]
pub(crate) struct Processes {
    dir: PathBuf,
    children: Vec<Child>,
}

impl Processes {
    /// Takes the stack's folder for this process. An error if a stack runs there; processes and temporary
    /// files that an earlier one left behind are removed first.
    pub(crate) async fn claim_folder(dir: &Path) -> Result<Self> {
        let left = read_recorded_processes(dir)?;
        if let Some(owner) = left.iter().find(|it| !it.group && it.is_alive()) {
            bail!(
                "a stack runs already (process {}): use it, or end it with `cargo xtask down`",
                owner.pid
            );
        }
        end_all(dir).await?;
        let logs = dir.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let processes = Self {
            dir: dir.to_owned(),
            children: Vec::new(),
        };
        processes.record("cargo xtask", std::process::id(), false)?;
        let tmp = dir.join("tmp");
        if tmp.exists() {
            fs::remove_dir_all(&tmp).with_context(|| format!("cannot empty {}", tmp.display()))?;
        }
        fs::create_dir(&tmp).with_context(|| format!("cannot make {}", tmp.display()))?;
        Ok(processes)
    }

    /// Starts a process in a group of its own, with its output in the log of its name.
    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = log_path(&self.dir, name);
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("the {name} could not be started"))?;
        let pid = child
            .id()
            .with_context(|| format!("the {name} ended at once"))?;
        self.children.push(child);
        self.record(name, pid, true)
    }

    /// Ends everything that was started, the last first, and forgets it.
    pub(crate) async fn end(mut self) -> Result<()> {
        let mut ended = Ok(());
        // Only this process has no group of its own.
        for process in read_recorded_processes(&self.dir)?
            .iter()
            .filter(|it| it.group)
            .rev()
        {
            ended = process.end(SIGTERM_GRACE_PERIOD).await.and(ended);
        }
        for child in &mut self.children {
            child.wait().await?;
        }
        ended?;
        remove_state_files(&self.dir)
    }

    fn record(&self, name: &str, pid: u32, group: bool) -> Result<()> {
        let pid = i32::try_from(pid)?;
        let mut all = read_recorded_processes(&self.dir)?;
        all.push(RecordedProcess {
            name: name.to_owned(),
            pid,
            started: start_time(pid).unwrap_or_default(),
            group,
        });
        let file = self.dir.join(PROCESSES_FILE);
        fs::write(&file, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

pub(crate) fn log_path(dir: &Path, process: &str) -> PathBuf {
    dir.join("logs").join(format!("{process}.log"))
}

pub(crate) fn read_recorded_processes(dir: &Path) -> Result<Vec<RecordedProcess>> {
    let file = dir.join(PROCESSES_FILE);
    match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what was written", file.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Ends every recorded process of a stack, and returns how many ran.
pub(crate) async fn end_all(dir: &Path) -> Result<usize> {
    let all = read_recorded_processes(dir)?;
    let ended = all
        .iter()
        .filter(|process| process.process_or_group_runs())
        .count();
    // The first is the one that started the others: it ends them itself, if it still can.
    for process in &all {
        process.end(SIGTERM_GRACE_PERIOD).await?;
    }
    remove_state_files(dir)?;
    Ok(ended)
}

fn remove_state_files(dir: &Path) -> Result<()> {
    for file in [PROCESSES_FILE, STACK_FILE].map(|name| dir.join(name)) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.with_context(|| format!("cannot remove {}", file.display()))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn everything_started_is_ended_also_what_it_started_itself() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let mut processes = Processes::claim_folder(dir).await.unwrap();
        let script = "sleep 600 & sleep 600";
        processes.start("sleeper", shell(script)).unwrap();
        let started = read_recorded_processes(dir).unwrap();
        assert!(started[1].is_alive());

        processes.end().await.unwrap();
        assert!(!group_runs(started[1].pid));
        assert_eq!(read_recorded_processes(dir).unwrap(), []);
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let mut processes = Processes::claim_folder(dir).await.unwrap();
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        processes.start("stubborn", shell(script)).unwrap();
        while fs::read_to_string(log_path(dir, "stubborn"))
            .unwrap()
            .is_empty()
        {
            sleep(EXIT_POLL_INTERVAL).await;
        }
        let stubborn = read_recorded_processes(dir).unwrap().remove(1);
        stubborn.end(Duration::from_millis(200)).await.unwrap();
        assert!(!stubborn.is_alive());
        processes.end().await.unwrap();
    }

    #[tokio::test]
    async fn an_id_that_now_belongs_to_another_process_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let mut other = Command::new("sleep")
            .arg("600")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = i32::try_from(other.id().unwrap()).unwrap();
        let name = "recycled".to_owned();
        let old = RecordedProcess {
            name,
            pid,
            started: "long ago".to_owned(),
            group: true,
        };
        old.end(EXIT_POLL_INTERVAL).await.unwrap();
        assert!(
            other.try_wait().unwrap().is_none(),
            "the other process was ended"
        );
        assert_eq!(end_all(dir).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_folder_is_one_stacks_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let processes = Processes::claim_folder(dir).await.unwrap();
        let error = Processes::claim_folder(dir).await.unwrap_err().to_string();
        assert!(error.contains("cargo xtask down"), "{error}");
        processes.end().await.unwrap();
        assert!(Processes::claim_folder(dir).await.is_ok());
    }

    #[test]
    fn the_start_is_found_behind_any_process_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4242 99 100";
        assert_eq!(parse_stat(stat), Some((7, "4242".to_owned())));
        assert_eq!(parse_stat(&stat.replace(") S", ") Z")), None);
    }
}
