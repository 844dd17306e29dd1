//! The folders that tasks may work in.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::text::shorten;

/// The allowed folders, canonical; there is at least one.
#[derive(Debug, Clone)]
pub struct Workdirs(Vec<PathBuf>);

impl Workdirs {
    /// Allows folders, which must exist, and what is below them.
    pub fn new(folders: &[PathBuf]) -> anyhow::Result<Self> {
        let canonical = folders.iter().map(|path| {
            canonical_folder(path).map_err(|error| {
                let path = path.display();
                anyhow::anyhow!("--workdir {path}: {error}; name a folder that exists")
            })
        });
        canonical.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the folder of a task's `local_path`: a relative path begins at the first allowed
    /// folder. Links and `..` are followed first, so that neither leads out. An error is shown in
    /// Slack.
    pub(crate) fn resolve(&self, local_path: &str) -> Result<PathBuf, String> {
        let base = self.0.first().map_or(Path::new("/"), PathBuf::as_path);
        let path = base.join(local_path);
        let shown = shorten(local_path, 300);
        match canonical_folder(&path) {
            Ok(found) if self.is_allowed(&found) => Ok(found),
            // A path outside is refused alike whether it exists or not, so as not to reveal which.
            Err(error) if self.existing_part_is_allowed(&path) => Err(format!(
                "the folder '{shown}' cannot be used on the agent's machine ({error}); \
                 create it there inside of a --workdir, or correct the project's path"
            )),
            _ => Err(format!(
                "the folder '{shown}' is outside of those this agent may work in; \
                 start the agent with --workdir naming it or a folder above it, or correct the project's path"
            )),
        }
    }

    fn is_allowed(&self, canonical: &Path) -> bool {
        self.0.iter().any(|allowed| canonical.starts_with(allowed))
    }

    /// Whether the part of `path` that exists is inside of an allowed folder.
    fn existing_part_is_allowed(&self, path: &Path) -> bool {
        path.ancestors()
            .find_map(|part| part.canonicalize().ok())
            .is_some_and(|part| self.is_allowed(&part))
    }
}

/// The canonical form of a folder.
fn canonical_folder(path: &Path) -> io::Result<PathBuf> {
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

    fn is_outside(refused: &str) -> bool {
        refused.contains("is outside of those this agent may work in")
    }

    impl Fixture {
        fn resolve(&self, path: &str) -> Result<PathBuf, String> {
            let absolute = self.root.path().join(path);
            self.workdirs.resolve(absolute.to_str().unwrap())
        }

        fn outside(&self, path: &str) -> bool {
            self.resolve(path).is_err_and(|text| is_outside(&text))
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
        assert!(is_outside(
            &fixture.workdirs.resolve("../secret").unwrap_err()
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
    fn a_missing_folder_is_named_with_advice() {
        let fixture = fixture();
        let refused = fixture.resolve("allowed/missing").unwrap_err();
        assert!(refused.contains("No such file") && refused.contains("--workdir"));
        let outside = fixture.resolve("secret").unwrap_err();
        assert!(outside.contains("--workdir"));
        let no_folder = fixture.resolve("allowed/file").unwrap_err();
        assert!(no_folder.contains("cannot be used"));
        assert!(fixture.workdirs.resolve("a\0b").is_err());
    }

    #[test]
    fn the_agent_does_not_start_without_its_folders() {
        let error = Workdirs::new(&["/nowhere/at/all".into()]).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "--workdir /nowhere/at/all: No such file or directory (os error 2); \
             name a folder that exists"
        );
    }
}
