//! The user that commands run as, if not the agent's. `launch` makes a process that user's.

use std::{
    env, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use nix::unistd::{User, geteuid};
use tokio::process::Command;

/// The first argument that makes this program a launcher.
pub const LAUNCH_ARGUMENT: &str = "launch-as";

/// The user that commands run as.
#[derive(Debug, Clone)]
pub struct RunAs {
    user: User,
    /// This program.
    launcher: PathBuf,
}

impl RunAs {
    /// Checks that the agent may run commands as this user. An error says what to do.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        if cfg!(target_vendor = "apple") {
            bail!("--run-as is not available on this platform; start the agent as that user");
        }
        let user = User::from_name(name)
            .with_context(|| format!("--run-as {name}: the user cannot be looked up"))?
            .with_context(|| {
                format!("--run-as {name}: there is no such user on this machine; create it first")
            })?;
        if user.uid.is_root() {
            bail!(
                "--run-as {name}: root can read the agent's key wherever it is; name a user without rights"
            );
        }
        if !geteuid().is_root() {
            bail!(
                "--run-as {name}: only root may run commands as another user; \
                 start the agent as root, or leave the option out"
            );
        }
        // On Linux, the very program that runs, even if its file has been replaced meanwhile.
        let launcher = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            env::current_exe().context("--run-as: this program is not found")?
        };
        Ok(Self { user, launcher })
    }

    /// Returns a command that runs `program` as the user in a folder. Arguments can be added.
    pub(super) fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(&self.launcher);
        command
            .args([LAUNCH_ARGUMENT, &self.user.name])
            .arg(folder)
            .arg(program)
            .env("HOME", &self.user.dir)
            .env("USER", &self.user.name)
            .env("LOGNAME", &self.user.name);
        command
    }

    /// Makes the user the owner of a file or folder.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        chown(
            path,
            Some(self.user.uid.as_raw()),
            Some(self.user.gid.as_raw()),
        )
    }
}
