//! The launcher of a command that runs as another user.
//!
//! Such a command's process begins as this program again: it takes the user's groups and id, enters
//! the task's folder, and becomes the command. It leads a session of its own, without the agent's
//! terminal, into which it could type. (The standard library would leave the user without
//! its supplementary groups, and code between fork and exec would be unsafe.)

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::{fs::fchown, process::CommandExt},
    path::PathBuf,
    process::Command,
};

use anyhow::Context;
use nix::unistd::{User, setgid, setsid, setuid};

use super::process::explain_spawn_error;

/// Becomes a command of another user: `arguments` are the user, the folder, the program and its
/// arguments. Returns only if that fails: the exit code, and a sentence that says what to do.
pub fn launch(arguments: impl IntoIterator<Item = OsString>) -> (u8, String) {
    match try_launch(arguments.into_iter()) {
        Ok((program, error)) => {
            // The exit codes of a shell.
            let code = if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            };
            (code, explain_spawn_error(&program, &error))
        }
        Err(error) => (126, format!("{error:#}")),
    }
}

/// Returns the program that could not be executed, and why.
fn try_launch(
    mut arguments: impl Iterator<Item = OsString>,
) -> anyhow::Result<(String, io::Error)> {
    let mut next = || arguments.next().context("an argument is missing");
    let (name, folder, program) = (next()?, PathBuf::from(next()?), next()?);
    let name = name.to_string_lossy().into_owned();
    let user = User::from_name(&name)
        .with_context(|| format!("the user '{name}' cannot be looked up"))?
        .with_context(|| format!("there is no user '{name}' on the agent's machine any more"))?;
    setsid().context("the command could not be given a session of its own")?;
    give_pipes(&user).context("the command's pipes could not be given to its user")?;
    become_user(&user).with_context(|| format!("the agent may not run commands as '{name}'"))?;
    env::set_current_dir(&folder).with_context(|| {
        format!(
            "the user '{name}' cannot enter the folder '{}'; give the user access to it on the agent's \
             machine, or start the agent with another --run-as",
            folder.display()
        )
    })?;
    let error = Command::new(&program).args(arguments).exec();
    Ok((program.to_string_lossy().into_owned(), error))
}

/// Makes the user the owner of this process' pipes, which it could otherwise not open by name, such
/// as `/dev/stderr`.
fn give_pipes(user: &User) -> io::Result<()> {
    let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    fchown(io::stdin(), uid, gid)?;
    fchown(io::stdout(), uid, gid)?;
    fchown(io::stderr(), uid, gid)
}

/// Gives this process the groups and the id of a user, for good.
fn become_user(user: &User) -> nix::Result<()> {
    #[cfg(not(target_vendor = "apple"))]
    {
        let name = std::ffi::CString::new(user.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
        nix::unistd::initgroups(&name, user.gid)?;
    }
    setgid(user.gid)?;
    setuid(user.uid)
}
