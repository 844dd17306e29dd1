//! Processes that outlive a step, and the record by which they are ended: by the id and the start
//! time noted when they were started, so that an id that the system gave to another process since
//! is left alone.

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

use crate::paths::StackDir;

/// How long a process that was asked to end may take before it is made to.
const GRACE: Duration = Duration::from_secs(15);
/// How often a process of another parent is looked at.
const POLL: Duration = Duration::from_millis(50);

/// One process of a running stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What it is, for a person.
    pub name: String,
    /// Its process id.
    pub pid: i32,
    /// When it was started, in the system's own notation.
    pub started: String,
    /// Whether it leads a process group of its own, which ends with it.
    pub group: bool,
}

impl Recorded {
    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        started(self.pid).is_some_and(|started| started == self.started)
    }

    /// Ends the process and its group: asks, waits, insists.
    pub async fn end(&self, grace: Duration) -> Result<()> {
        if !self.may_signal() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        if timeout(grace, self.gone()).await.is_ok() {
            return Ok(());
        }
        self.signal(Signal::SIGKILL)?;
        match timeout(grace, self.gone()).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("{} (process {}) does not end", self.name, self.pid),
        }
    }

    /// A group keeps its id from being given away, also after its leader has ended; so only
    /// another process in the leader's place forbids the signal.
    fn may_signal(&self) -> bool {
        match started(self.pid) {
            Some(started) => started == self.started,
            None => self.group,
        }
    }

    async fn gone(&self) {
        while self.remains() {
            sleep(POLL).await;
        }
    }

    fn remains(&self) -> bool {
        self.is_alive() || (self.group && self.may_signal() && group_runs(self.pid))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid);
        let sent = if self.group {
            killpg(pid, signal)
        } else {
            kill(pid, signal)
        };
        match sent {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("{} (process {pid}) cannot be ended", self.name))
            }
        }
    }
}

/// The start of a running process, `None` if there is none of this id. One that has ended but is
/// not yet collected by its parent does not run.
fn started(pid: i32) -> Option<String> {
    if fs::exists("/proc/self/stat").unwrap_or(false) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        return started_in(&stat);
    }
    let output = StdCommand::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty() && !text.starts_with('Z')).then(|| {
        text.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    })
}

/// `/proc/<pid>/stat`: the name in brackets may hold anything, what follows is fields; the first is
/// the state, the twentieth the start in clock ticks since the machine's.
fn started_in(stat: &str) -> Option<String> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18).map(ToOwned::to_owned)
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
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .any(|pid| in_group(pid, group))
}

fn in_group(pid: i32, group: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return false;
    };
    let fields: Vec<&str> = fields.split_whitespace().take(3).collect();
    matches!(fields[..], [state, _, of] if state != "Z" && of == group.to_string())
}

/// The processes of one stack: a file of them, written before anything else is done with one.
#[derive(Debug)]
pub struct Processes {
    file: PathBuf,
    children: Vec<Child>,
}

impl Processes {
    /// Takes the stack's folder for this process. An error if a stack runs there; what an earlier
    /// one left behind is ended first.
    pub async fn claim(dir: &StackDir) -> Result<Self> {
        let left = recorded(dir)?;
        if let Some(owner) = left
            .iter()
            .find(|process| !process.group && process.is_alive())
        {
            bail!(
                "a stack runs already (process {}): use it, or end it with `cargo xtask down`",
                owner.pid
            );
        }
        end_all(dir).await?;
        let mut processes = Self {
            file: dir.processes_file(),
            children: Vec::new(),
        };
        let pid = i32::try_from(std::process::id())?;
        processes.record("cargo xtask", pid, false)?;
        Ok(processes)
    }

    /// Starts a process in a group of its own, with its output in `log`.
    pub fn start(&mut self, name: &str, mut command: Command, log: &Path) -> Result<()> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let pid = child
            .id()
            .with_context(|| format!("{name} ended at once"))?;
        self.children.push(child);
        self.record(name, i32::try_from(pid)?, true)
    }

    /// Ends everything that was started, the last first, and forgets it.
    pub async fn end(mut self, dir: &StackDir) -> Result<()> {
        let own = i32::try_from(std::process::id())?;
        let mut failed = None;
        for process in recorded(dir)?
            .iter()
            .rev()
            .filter(|process| process.pid != own)
        {
            failed = process.end(GRACE).await.err().or(failed);
        }
        for child in &mut self.children {
            child.wait().await?;
        }
        match failed {
            Some(error) => Err(error),
            None => forget(dir),
        }
    }

    fn record(&mut self, name: &str, pid: i32, group: bool) -> Result<()> {
        let started = started(pid).unwrap_or_default();
        let mut all = read(&self.file)?;
        all.push(Recorded {
            name: name.to_owned(),
            pid,
            started,
            group,
        });
        fs::write(&self.file, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// The processes that a stack's folder tells of.
pub fn recorded(dir: &StackDir) -> Result<Vec<Recorded>> {
    read(&dir.processes_file())
}

/// Ends every process that a stack's folder tells of, and gives back how many ran.
pub async fn end_all(dir: &StackDir) -> Result<usize> {
    let all = recorded(dir)?;
    let ended = all.iter().filter(|process| process.remains()).count();
    // The first is the one that started the others: it ends them itself, if it still can.
    for process in &all {
        process.end(GRACE).await?;
    }
    forget(dir)?;
    Ok(ended)
}

fn forget(dir: &StackDir) -> Result<()> {
    for file in [dir.processes_file(), dir.stack_file()] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn read(file: &PathBuf) -> Result<Vec<Recorded>> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what was written", file.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack_dir() -> (tempfile::TempDir, StackDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = StackDir::at(temp.path());
        dir.prepare().unwrap();
        (temp, dir)
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn everything_started_is_ended_also_what_it_started_itself() {
        let (_temp, dir) = stack_dir();
        let mut processes = Processes::claim(&dir).await.unwrap();
        let script = "sleep 600 & sleep 600";
        processes
            .start("sleeper", shell(script), &dir.log("sleeper"))
            .unwrap();
        let started = recorded(&dir).unwrap();
        assert!(started[1].is_alive());

        processes.end(&dir).await.unwrap();
        assert!(!group_runs(started[1].pid));
        assert_eq!(recorded(&dir).unwrap(), []);
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed() {
        let (_temp, dir) = stack_dir();
        let mut processes = Processes::claim(&dir).await.unwrap();
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        processes
            .start("stubborn", shell(script), &dir.log("stubborn"))
            .unwrap();
        while fs::read_to_string(dir.log("stubborn")).unwrap().is_empty() {
            sleep(POLL).await;
        }
        let stubborn = recorded(&dir).unwrap().remove(1);
        stubborn.end(Duration::from_millis(200)).await.unwrap();
        assert!(!stubborn.is_alive());
        processes.end(&dir).await.unwrap();
    }

    #[tokio::test]
    async fn an_id_that_now_belongs_to_another_process_is_left_alone() {
        let (_temp, dir) = stack_dir();
        let mut other = Command::new("sleep")
            .arg("600")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = i32::try_from(other.id().unwrap()).unwrap();
        let name = "recycled".to_owned();
        let old = Recorded {
            name,
            pid,
            started: "long ago".to_owned(),
            group: true,
        };
        old.end(POLL).await.unwrap();
        assert!(
            other.try_wait().unwrap().is_none(),
            "the other process was ended"
        );
        assert_eq!(end_all(&dir).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_folder_is_one_stacks_at_a_time() {
        let (_temp, dir) = stack_dir();
        let processes = Processes::claim(&dir).await.unwrap();
        let error = Processes::claim(&dir).await.unwrap_err().to_string();
        assert!(error.contains("cargo xtask down"), "{error}");
        processes.end(&dir).await.unwrap();
        assert!(Processes::claim(&dir).await.is_ok());
    }

    #[test]
    fn the_start_is_found_behind_any_process_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4242 99 100";
        assert_eq!(started_in(stat).as_deref(), Some("4242"));
        assert_eq!(started_in("7 (x) Z 1 7 7 0 -1"), None);
    }
}
