//! The folders that tasks may work in.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::text::shorten;

/// The allowed folders, canonical; there is at least one.
#[derive(Debug, Clone)]
pub struct Workdirs(Vec<PathBuf>);

/// Why a task cannot work where it was told to. Its text is read in Slack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FolderRefused {
    /// It is not inside of an allowed folder.
    #[error(
        "the folder '{0}' is outside of those this agent may work in; \
         start the agent with --workdir naming it or a folder above it, or correct the project's path"
    )]
    Outside(String),
    /// There is nothing, or no folder, or it may not be read.
    #[error(
        "the folder '{path}' cannot be used on the agent's machine ({reason}); \
         create it there inside of a --workdir, or correct the project's path"
    )]
    Unusable {
        /// As the task named it.
        path: String,
        /// What the operating system says.
        reason: String,
    },
}

/// Why a folder given at the start cannot be allowed.
#[derive(Debug, thiserror::Error)]
#[error("--workdir {path}: {source}; name a folder that exists", path = path.display())]
pub struct NoSuchWorkdir {
    path: PathBuf,
    source: io::Error,
}

impl Workdirs {
    /// Allows `folders` and what is below them.
    ///
    /// # Errors
    /// If one of them is no folder.
    pub fn new(folders: &[PathBuf]) -> Result<Self, NoSuchWorkdir> {
        let canonical = |path: &PathBuf| {
            folder(path).map_err(|source| NoSuchWorkdir {
                path: path.clone(),
                source,
            })
        };
        folders
            .iter()
            .map(canonical)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The folder that a task's `local_path` means: a relative one is taken from the first allowed
    /// folder. Links and `..` are followed first, so that neither leads out.
    ///
    /// # Errors
    /// If it is outside of the allowed folders, or no folder.
    pub fn resolve(&self, local_path: &str) -> Result<PathBuf, FolderRefused> {
        let shown = || shorten(local_path, 300);
        let base = self.0.first().map(PathBuf::as_path);
        let path = base.unwrap_or(Path::new("/")).join(local_path);
        match folder(&path) {
            Ok(found) if self.allow(&found) => Ok(found),
            // What is outside is refused alike whether it exists or not: nobody's business.
            Err(error) if self.may_be_inside(&path) => Err(FolderRefused::Unusable {
                path: shown(),
                reason: error.to_string(),
            }),
            _ => Err(FolderRefused::Outside(shown())),
        }
    }

    fn allow(&self, canonical: &Path) -> bool {
        self.0.iter().any(|allowed| canonical.starts_with(allowed))
    }

    /// Whether the part of `path` that exists is inside of an allowed folder.
    fn may_be_inside(&self, path: &Path) -> bool {
        path.ancestors()
            .find_map(|part| part.canonicalize().ok())
            .is_some_and(|part| self.allow(&part))
    }
}

/// The canonical form of a folder.
fn folder(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tempfile::TempDir;

    use super::*;

    struct Fixture {
        root: TempDir,
        workdirs: Workdirs,
    }

    /// `root/allowed/project`, and `root/secret` outside of what is allowed.
    fn fixture() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("allowed/project")).unwrap();
        fs::create_dir_all(root.path().join("secret")).unwrap();
        fs::write(root.path().join("allowed/file"), "").unwrap();
        let workdirs = Workdirs::new(&[root.path().join("allowed")]).unwrap();
        Fixture { root, workdirs }
    }

    impl Fixture {
        fn resolve(&self, path: &str) -> Result<PathBuf, FolderRefused> {
            let absolute = self.root.path().join(path);
            self.workdirs.resolve(absolute.to_str().unwrap())
        }

        fn outside(&self, path: &str) -> bool {
            matches!(self.resolve(path), Err(FolderRefused::Outside(_)))
        }
    }

    #[test]
    fn what_is_inside_is_allowed() {
        let fixture = fixture();
        assert!(fixture.resolve("allowed").is_ok());
        let project = fixture.resolve("allowed/project/../project/.").unwrap();
        assert!(project.ends_with("allowed/project"));
    }

    #[test]
    fn a_relative_path_starts_at_the_first_folder() {
        let fixture = fixture();
        assert!(fixture.workdirs.resolve("project").unwrap().is_absolute());
        assert!(matches!(
            fixture.workdirs.resolve("../secret"),
            Err(FolderRefused::Outside(_))
        ));
    }

    #[test]
    fn no_way_leads_out() {
        let fixture = fixture();
        let root = fixture.root.path();
        symlink(root.join("secret"), root.join("allowed/link")).unwrap();
        fs::create_dir(root.join("allowed-not")).unwrap();
        for path in [
            "secret",
            "allowed/../secret",
            "allowed/link",
            "allowed-not",
            "secret/missing",
            "",
            "/",
        ] {
            assert!(fixture.outside(path), "{path}");
        }
    }

    #[test]
    fn a_missing_folder_is_named_so_and_how_to_help_it() {
        let fixture = fixture();
        let refused = fixture.resolve("allowed/missing").unwrap_err().to_string();
        assert!(refused.contains("No such file") && refused.contains("--workdir"));
        let outside = fixture.resolve("secret").unwrap_err().to_string();
        assert!(outside.contains("--workdir"));
        assert!(matches!(
            fixture.resolve("allowed/file"),
            Err(FolderRefused::Unusable { .. })
        ));
        assert!(fixture.workdirs.resolve("a\0b").is_err());
    }

    #[test]
    fn the_agent_does_not_start_without_its_folders() {
        let error = Workdirs::new(&["/nowhere/at/all".into()]).unwrap_err();
        assert!(error.to_string().contains("--workdir /nowhere/at/all"));
    }
}
