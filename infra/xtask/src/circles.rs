//! The check that no two modules of a crate depend on each other in a circle. It reads the sources alone,
//! and compiles nothing.
//!
//! A module is a file below `src/`. A file depends on another if it imports a name that the other defines,
//! or has a path to one in its code; re-exports are followed to the definition, and are no dependency
//! themselves, unless the file uses the name. Tests, macros and calls of methods are left out.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};

use self::source::SourceReferences;

/// The folders whose crates are checked.
const CHECKED_FOLDERS: [&str; 2] = ["shared", "infra"];
/// Re-exports that are followed from one name.
const MAX_REEXPORT_HOPS: usize = 8;

/// Fails with every circle there is.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut crates = BTreeMap::new();
    for folder in CHECKED_FOLDERS {
        read_crates(root, &root.join(folder), &mut crates)?;
    }
    let mut circles = Vec::new();
    for (folder, files) in &crates {
        let modules = Modules::of(files).with_context(|| folder.clone())?;
        let found = modules.describe_circles().into_iter();
        circles.extend(found.map(|it| format!("{folder}/src:\n  {}", it.join("\n  "))));
    }
    if circles.is_empty() {
        return Ok(());
    }
    bail!(
        "these modules depend on each other in a circle:\n\n{}\n\nMove what both need into a module of its own, which needs neither.",
        circles.join("\n\n")
    )
}

/// The Rust files of a crate, by their paths below `src`.
type CrateFiles = BTreeMap<String, String>;

/// Reads the files of the crates in a folder, by the crates' folders.
fn read_crates(
    root: &Path,
    folder: &Path,
    crates: &mut BTreeMap<String, CrateFiles>,
) -> Result<()> {
    let cannot = |path: &Path| format!("cannot read {}", path.display());
    for entry in fs::read_dir(folder).with_context(|| cannot(folder))? {
        let path = entry?.path();
        let relative = path.strip_prefix(root)?.to_string_lossy();
        if path.is_dir() {
            read_crates(root, &path, crates)?;
        } else if let Some((folder, file)) = relative.split_once("/src/")
            && path.extension().is_some_and(|it| it == "rs")
        {
            let text = fs::read_to_string(&path).with_context(|| cannot(&path))?;
            let files = crates.entry(folder.to_owned()).or_default();
            files.insert(file.to_owned(), text);
        }
    }
    Ok(())
}

/// A module's path from the root of its crate.
type ModulePath = Vec<String>;

/// The modules of a crate, with their files.
struct Modules(BTreeMap<ModulePath, (String, SourceReferences)>);

/// For each module, the modules that it depends on, with the names of them that it uses.
type Dependencies<'a> = BTreeMap<&'a ModulePath, BTreeMap<&'a ModulePath, BTreeSet<String>>>;

impl Modules {
    /// Returns the modules in files, without those that only tests compile. A `main.rs` beside a `lib.rs` is left
    /// out: nothing depends on it.
    fn of(files: &CrateFiles) -> Result<Self> {
        let has_lib = files.contains_key("lib.rs");
        let mut modules = BTreeMap::new();
        for (file, text) in files.iter().filter(|it| !has_lib || it.0 != "main.rs") {
            let path = module_path(file);
            let source = SourceReferences::of(&path, text)
                .map_err(|error| anyhow!("{file} is not Rust: {error}"))?;
            modules.insert(path, (file.clone(), source));
        }
        let tests = modules
            .values()
            .flat_map(|(_, source)| &source.test_modules);
        let tests: BTreeSet<_> = tests.cloned().collect();
        modules.retain(|path, _| !(1..=path.len()).any(|end| tests.contains(&path[..end])));
        Ok(Self(modules))
    }

    /// Returns the circles, each as the sentences about the dependencies between its files.
    fn describe_circles(&self) -> Vec<Vec<String>> {
        let dependencies = self.dependencies();
        let reached = |from| (from, reachable(&dependencies, from));
        let reached: BTreeMap<_, _> = self.0.keys().map(reached).collect();
        // The modules of a circle reach the same modules, and no other circle reaches the same.
        let mut circles = BTreeMap::<_, Vec<_>>::new();
        for (from, others) in &dependencies {
            for (to, names) in others {
                if reached[to].contains(from) {
                    let names: Vec<_> = names.iter().map(String::as_str).collect();
                    let (user, definer) = (&self.0[*from].0, &self.0[*to].0);
                    let sentence = format!("{user} needs {} of {definer}", names.join(", "));
                    circles.entry(&reached[from]).or_default().push(sentence);
                }
            }
        }
        circles.into_values().collect()
    }

    fn dependencies(&self) -> Dependencies<'_> {
        let dependencies = self.0.iter().map(|(from, (_, source))| {
            let imports = source.imports.iter().filter(|it| !it.public);
            let paths = imports.map(|it| &it.path).chain(&source.paths);
            let mut dependencies: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
            for path in paths {
                if let Some((to, Some(name))) = self.definition(from, path, MAX_REEXPORT_HOPS)
                    && to != from
                {
                    dependencies.entry(to).or_default().insert(name);
                }
            }
            (from, dependencies)
        });
        dependencies.collect()
    }

    /// Returns the module that defines the item of a path in the module `from`, with the item's name there,
    /// or the module itself if the path is that of one. `None` if the item is not of this crate.
    fn definition(
        &self,
        from: &ModulePath,
        path: &[String],
        hops: usize,
    ) -> Option<(&ModulePath, Option<String>)> {
        let is_absolute = path.first().is_some_and(|name| name == "crate");
        let root = ModulePath::new();
        let start = if is_absolute { &root } else { from };
        let (mut at, mut module) = self.0.get_key_value(start)?;
        let names = &path[usize::from(is_absolute)..];
        for (index, name) in names.iter().enumerate() {
            let child = [at.as_slice(), std::slice::from_ref(name)].concat();
            if let Some(child) = self.0.get_key_value(&child) {
                (at, module) = child;
                continue;
            }
            let mut imports = module.1.imports.iter();
            let import = imports.find(|it| it.name == *name && hops > 0);
            let found = import.and_then(|import| {
                let path = [&import.path, &names[index + 1..]].concat();
                self.definition(at, &path, hops - 1)
            });
            let here = (is_absolute || index > 0).then(|| (at, Some(name.clone())));
            return found.or(here);
        }
        Some((at, None))
    }
}

/// Returns the modules that one depends on, directly or over others.
fn reachable<'a>(
    dependencies: &Dependencies<'a>,
    from: &'a ModulePath,
) -> BTreeSet<&'a ModulePath> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(path) = open.pop() {
        let new = dependencies[path].keys().filter(|to| reached.insert(**to));
        open.extend(new);
    }
    reached
}

/// Returns the path of a file's module.
fn module_path(file: &str) -> ModulePath {
    let path = match file {
        "lib.rs" | "main.rs" => return ModulePath::new(),
        _ => file.trim_end_matches(".rs").trim_end_matches("/mod"),
    };
    path.split('/').map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe_circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files = files.iter();
        let files = files.map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        Modules::of(&files.collect()).unwrap().describe_circles()
    }

    const NONE: [Vec<String>; 0] = [];

    #[test]
    fn a_circle_is_named_with_its_dependencies() {
        let found = describe_circles(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::{b::{B1, B2}, d::D};"),
            ("b/mod.rs", "fn f() { crate::c::g() }"),
            ("c.rs", "use super::a; fn g() { a::h::<u8>() }"),
            ("d.rs", ""),
        ]);
        let expected = [
            "a.rs needs B1, B2 of b/mod.rs",
            "b/mod.rs needs g of c.rs",
            "c.rs needs h of a.rs",
        ];
        assert_eq!(found, [expected]);
    }

    #[test]
    fn circles_apart_are_named_apart() {
        let found = describe_circles(&[
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A; use crate::c::C;"),
            ("c.rs", "use crate::d::D;"),
            ("d.rs", "use crate::c::C;"),
            ("lib.rs", "use self::{a::A, c::C};"),
        ]);
        let sizes: Vec<_> = found.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2]);
    }

    #[test]
    fn a_child_may_use_what_its_parent_re_exports() {
        let parent = "mod child; mod types; pub use self::types::T; use self::child::C;";
        let child = "use super::T; fn f() -> super::T {}";
        let files = [
            ("a/mod.rs", parent),
            ("a/child.rs", child),
            ("a/types.rs", ""),
            ("lib.rs", ""),
        ];
        assert_eq!(describe_circles(&files), NONE);
    }

    #[test]
    fn a_child_may_not_use_what_its_parent_defines() {
        let parent = "mod child; fn f(c: child::C) {}";
        let files = [
            ("a/mod.rs", parent),
            ("a/child.rs", "use super::f;"),
            ("lib.rs", ""),
        ];
        let expected = [
            "a/mod.rs needs C of a/child.rs",
            "a/child.rs needs f of a/mod.rs",
        ];
        assert_eq!(describe_circles(&files), [expected]);
    }

    #[test]
    fn a_re_export_that_the_file_uses_is_a_dependency() {
        let child = ("a.rs", "use crate::B;");
        assert_eq!(
            describe_circles(&[child, ("lib.rs", "mod a; pub use a::A; pub struct B;")]),
            NONE
        );
        let found = describe_circles(&[child, ("lib.rs", "mod a; pub use a::A; pub struct B(A);")]);
        assert_eq!(
            found,
            [["lib.rs needs A of a.rs", "a.rs needs B of lib.rs"]]
        );
    }

    #[test]
    fn a_visibility_is_no_dependency() {
        let parent = "mod child; fn f(c: child::C) {}";
        let child = "pub(in crate::a) struct C; pub(super) struct D;";
        let files = [("a/mod.rs", parent), ("a/child.rs", child), ("lib.rs", "")];
        assert_eq!(describe_circles(&files), NONE);
    }

    #[test]
    fn tests_and_other_crates_are_no_dependencies() {
        let lib = "mod a; #[cfg(test)] mod tests; pub use anyhow::anyhow; use crate::a::A;";
        let found = describe_circles(&[
            ("lib.rs", lib),
            (
                "a.rs",
                "use anyhow::Result; use other::B; #[cfg(test)] use crate::B;",
            ),
            ("tests.rs", "use super::*;"),
            ("tests/more.rs", "use super::f;"),
            ("main.rs", "use crate::a::A;"),
        ]);
        assert_eq!(found, NONE);
    }
}
