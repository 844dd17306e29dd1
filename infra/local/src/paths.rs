//! Where things are in a checkout.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A checkout of the project.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that cargo, or else the current folder, is in.
    pub fn find() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => env::current_dir().context("the current folder cannot be read")?,
        };
        match start
            .ancestors()
            .find(|dir| dir.join("template.yaml").is_file())
        {
            Some(root) => Ok(Self {
                root: root.to_owned(),
            }),
            None => bail!("no template.yaml here or above: run this inside a checkout of Bematic"),
        }
    }

    /// The folder with `template.yaml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder, by its path from the root.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The Python environment with the pinned tools.
    pub fn venv(&self) -> PathBuf {
        self.join(".venv")
    }

    /// A program of the Python environment.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.venv().join("bin").join(name)
    }

    /// Where the template expects the binary of a function.
    pub fn bootstrap(&self, function: &str) -> PathBuf {
        self.join("target/lambda").join(function).join("bootstrap")
    }

    /// The functions, by name: one crate each in `functions/`.
    pub fn functions(&self) -> Result<Vec<String>> {
        let dir = self.join("functions");
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            if entry.path().join("Cargo.toml").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

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
