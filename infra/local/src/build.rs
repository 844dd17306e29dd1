//! Installs the functions' binaries, built beside this program, where the template expects them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::{Workspace, sibling};

/// Installs every function that has changed since it was installed last.
pub(crate) fn install_functions(workspace: &Workspace) -> Result<()> {
    for function in workspace.function_names()? {
        let (binary, bootstrap) = (sibling(&function)?, workspace.bootstrap_path(&function));
        let stamp = workspace.join("target/lambda-sources").join(&function);
        copy_stripped_if_changed(&binary, &bootstrap, &stamp)
            .with_context(|| format!("the function {function} cannot be installed"))?;
    }
    Ok(())
}

/// Copies a binary without its symbols, so that less is uploaded. The stamp identifies what was copied last.
fn copy_stripped_if_changed(from: &Path, to: &Path, stamp: &Path) -> Result<()> {
    let binary = fs::metadata(from).context("it was not built; `cargo xtask up` builds it")?;
    let state = format!("{} {:?}", binary.len(), binary.modified()?);
    if to.exists() && fs::read_to_string(stamp).is_ok_and(|known| known == state) {
        return Ok(());
    }
    for file in [to, stamp] {
        fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
    }
    // `strip` comes with the C compiler; a machine without it deploys the binary as it is.
    let strip = Command::new("strip").arg("-o").args([to, from]).output();
    if !strip.is_ok_and(|strip| strip.status.success()) {
        fs::copy(from, to)?;
    }
    fs::write(stamp, state)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_installed_again_once_it_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to, stamp] =
            ["from", "lambda/f/bootstrap", "stamps/f"].map(|name| dir.path().join(name));
        let install = |text: &str| {
            fs::write(&from, text).unwrap();
            copy_stripped_if_changed(&from, &to, &stamp).unwrap();
            fs::read_to_string(&to).unwrap()
        };
        assert_eq!(
            install("no binary, so that it cannot be stripped"),
            "no binary, so that it cannot be stripped"
        );
        let installed = fs::metadata(&to).unwrap().modified().unwrap();
        copy_stripped_if_changed(&from, &to, &stamp).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), installed);
        assert_eq!(install("another"), "another");
    }
}
