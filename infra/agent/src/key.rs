//! The API key: where it comes from, and who can read it.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};

/// The variable that may hold the key.
const VARIABLE: &str = "BEMATIC_API_KEY";
/// The variable by which systemd names the folder of a service's credentials.
pub(crate) const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// The name of the credential that may hold the key.
const CREDENTIAL: &str = "bematic-api-key";
/// Bytes of the longest key: what every pipe takes at once (POSIX asks for 4096 on Linux and less
/// elsewhere; a real key has 67).
const MAX_KEY_BYTES: usize = 512;

/// Keeps processes of the same user from reading this one's memory and environment, and from
/// tracing it. Linux alone needs that.
pub(crate) fn protect_process() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).context("the agent's memory cannot be protected")?;
    Ok(())
}

/// Returns the key: of the file, where one is named (`-` is standard input), or of the environment,
/// or of systemd's credential. An error says what to do.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<SecretString> {
    let text = match (file, env::var(VARIABLE), credential_file()) {
        (Some(file), ..) if is_standard_input(file) => io::read_to_string(io::stdin())
            .context("--api-key-file -: standard input cannot be read")?,
        (Some(file), ..) => fs::read_to_string(file)
            .with_context(|| format!("--api-key-file {} cannot be read", file.display()))?,
        // There is no option for the key: all users can see command lines.
        (None, Ok(key), _) => key,
        // The error's text has the value. As a key, it is refused below.
        (None, Err(env::VarError::NotUnicode(_)), _) => String::new(),
        (None, Err(env::VarError::NotPresent), Some(file)) => fs::read_to_string(&file)
            .with_context(|| format!("the credential {} cannot be read", file.display()))?,
        (None, Err(env::VarError::NotPresent), None) => bail!(
            "there is no API key; name a file that holds it by --api-key-file, or put it into {VARIABLE}, \
             or into the systemd credential {CREDENTIAL}"
        ),
    };
    let key = text.trim();
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_graphic());
    if !is_key || key.len() > MAX_KEY_BYTES {
        bail!("the API key is not one: it is 'bm_' and 64 hexadecimal digits on one line");
    }
    Ok(SecretString::from(key))
}

/// Starts this program anew, in the same process, if its environment holds the key: what a process
/// got as its environment can be read in `/proc` as long as it lives, though it removes the
/// variable. The new program gets the `key` that was read, by standard input. Returns if there is
/// nothing to do.
pub(crate) fn leave_environment(file: Option<&Path>, key: &SecretString) -> anyhow::Result<()> {
    if env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let hand_over = || {
        let mut arguments = env::args_os();
        let mut program = Command::new(env::current_exe()?);
        if let Some(name) = arguments.next() {
            program.arg0(name);
        }
        program.args(arguments).env_remove(VARIABLE);
        if file.is_none() {
            program.arg("--api-key-file=-");
        }
        if file.is_none_or(is_standard_input) {
            let (reader, mut writer) = io::pipe()?;
            writer.write_all(key.expose_secret().as_bytes())?;
            // The writer closes as the program begins, which ends the key.
            program.stdin(reader);
            return Err(program.exec());
        }
        Err(program.exec())
    };
    hand_over().with_context(|| {
        format!("the agent cannot start anew without {VARIABLE}; use --api-key-file in its place")
    })
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

/// Returns the file of systemd's credential, if the service has it.
fn credential_file() -> Option<PathBuf> {
    let file = Path::new(&env::var_os(CREDENTIALS_VARIABLE)?).join(CREDENTIAL);
    file.exists().then_some(file)
}
