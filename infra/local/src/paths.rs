//! Where a running stack keeps its files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::Workspace;

/// The folder of one running stack: what it writes, and what ends it.
#[derive(Debug, Clone)]
pub struct StackDir {
    path: PathBuf,
}

impl StackDir {
    /// The stack of `cargo xtask up`.
    pub fn local(workspace: &Workspace) -> Self {
        Self {
            path: workspace.join("target/local"),
        }
    }

    /// The stack that the end-to-end tests get: apart from a developer's own.
    pub fn test(workspace: &Workspace) -> Self {
        Self {
            path: workspace.join("target/local-test"),
        }
    }

    /// The stack that is measured.
    pub fn bench(workspace: &Workspace) -> Self {
        Self {
            path: workspace.join("target/local-bench"),
        }
    }

    /// The stack on which failures are let loose.
    pub fn chaos(workspace: &Workspace) -> Self {
        Self {
            path: workspace.join("target/local-chaos"),
        }
    }

    /// A stack in any folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What other tools read.
    pub fn stack_file(&self) -> PathBuf {
        self.path.join("stack.json")
    }

    /// The processes that run, by id.
    pub fn processes_file(&self) -> PathBuf {
        self.path.join("processes.json")
    }

    /// The output of one process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// Temporary files of the stack's processes.
    pub fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// The folder that the sample agent works in.
    pub fn sample(&self) -> PathBuf {
        self.path.join("sample")
    }

    /// Makes the folders, and empties the temporary one of an earlier run.
    pub fn prepare(&self) -> Result<()> {
        let tmp = self.tmp();
        if tmp.exists() {
            fs::remove_dir_all(&tmp).with_context(|| format!("cannot empty {}", tmp.display()))?;
        }
        for dir in [tmp, self.path.join("logs")] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(())
    }
}
