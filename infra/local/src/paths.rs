//! The files of a running stack.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder of one running stack.
#[derive(Debug, Clone)]
pub struct StackDir(PathBuf);

impl StackDir {
    /// The folder of the stack of `cargo xtask up`, from the checkout's root.
    pub const LOCAL: &str = "target/local";
    /// The folder of the stack for the end-to-end tests: apart from a developer's own.
    pub const TEST: &str = "target/local-test";
    /// The folder of the stack for `cargo xtask chaos`.
    pub const CHAOS: &str = "target/local-chaos";

    /// Returns the stack in any folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns the folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the file that other tools read.
    pub fn stack_file(&self) -> PathBuf {
        self.0.join("stack.json")
    }

    /// Returns the file of the processes that run.
    pub fn processes_file(&self) -> PathBuf {
        self.0.join("processes.json")
    }

    /// Returns the file of one process's output.
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// Returns the folder of the processes' temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Returns the folder that the sample agent works in.
    pub fn sample(&self) -> PathBuf {
        self.0.join("sample")
    }

    /// Creates the folders, and empties the temporary one of an earlier run.
    pub fn prepare(&self) -> Result<()> {
        let tmp = self.tmp();
        if tmp.exists() {
            fs::remove_dir_all(&tmp).with_context(|| format!("cannot empty {}", tmp.display()))?;
        }
        for dir in [tmp, self.0.join("logs")] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(())
    }
}
