//! The references of one source file to other modules, by its text alone.

use std::collections::BTreeSet;

/// The names of a path, `crate` first where it starts at the root of the crate.
pub(super) type Path = Vec<String>;

/// A `use` of one name.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    /// The name in the file.
    pub(super) name: String,
    pub(super) path: Path,
    /// Whether it is a re-export.
    pub(super) public: bool,
}

/// A file's imports, and the paths in the rest of it. Items that only tests compile are left out.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) imports: Vec<Import>,
    pub(super) paths: BTreeSet<Path>,
    /// The child modules that only tests compile, by their paths.
    pub(super) test_modules: BTreeSet<Path>,
}

const TEST_ONLY: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

impl Source {
    /// Reads the file of `module`.
    pub(super) fn of(module: &[String], text: &str) -> Self {
        let tokens = tokens(text);
        let mut source = Self::default();
        // The module that the text is in, and the depth of braces at which each inline module ends.
        let (mut scope, mut ends) = (module.to_vec(), Vec::new());
        let (mut at, mut depth) = (0, 0_usize);
        while let Some(&token) = tokens.get(at) {
            let rest = &tokens[at..];
            let before = if at == 0 { "" } else { tokens[at - 1] };
            let mut length = 1;
            match (token, rest.get(1).copied()) {
                ("#", _) if rest.starts_with(&TEST_ONLY) => {
                    length = TEST_ONLY.len();
                    let item = item(&rest[length..]);
                    length += item.len();
                    if let ["mod", name, ";"] = item {
                        let name = (*name).to_owned();
                        source
                            .test_modules
                            .insert([scope.as_slice(), &[name]].concat());
                    }
                }
                // `use<…>` names what an `impl Trait` captures.
                ("use", Some(next)) if next != "<" => {
                    let end = rest.iter().position(|it| *it == ";");
                    length = end.map_or(rest.len(), |end| end + 1);
                    for (name, path) in expand(&rest[1..length]) {
                        source.imports.push(Import {
                            name,
                            path: absolute(path, &scope),
                            public: before == "pub" || before == ")",
                        });
                    }
                }
                ("mod", Some(name)) => {
                    if rest.get(2) == Some(&"{") {
                        scope.push(name.to_owned());
                        ends.push(depth);
                    }
                    length = 2;
                }
                ("{", _) => depth += 1,
                ("}", _) => {
                    depth = depth.saturating_sub(1);
                    if ends.last() == Some(&depth) {
                        ends.pop();
                        scope.pop();
                    }
                }
                _ if is_word(token) => {
                    let path = path(rest);
                    length = 2 * path.len() - 1;
                    if !["::", ".", "fn"].contains(&before) {
                        source.paths.insert(absolute(path, &scope));
                    }
                }
                _ => {}
            }
            at += length;
        }
        source
    }
}

/// The item that tokens begin with: up to its semicolon or closing brace.
fn item<'a, 't>(tokens: &'t [&'a str]) -> &'t [&'a str] {
    let is_import = tokens.iter().find(|it| ["use", "{"].contains(*it)) == Some(&"use");
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && (*token == ";" || *token == "}" && !is_import)
    });
    &tokens[..end.map_or(tokens.len(), |end| end + 1)]
}

/// The path that tokens begin with.
fn path(tokens: &[&str]) -> Path {
    let pairs = tokens[1..].chunks(2);
    let more = pairs.map_while(|pair| match pair {
        ["::", name] if is_word(name) => Some(*name),
        _ => None,
    });
    let names = tokens.iter().copied().take(1).chain(more);
    names.map(ToOwned::to_owned).collect()
}

/// The names that a `use` binds, with their paths.
fn expand(tree: &[&str]) -> Vec<(String, Path)> {
    let mut found = Vec::new();
    // The path so far, the name that it binds, and the length of the path before each open brace.
    let (mut path, mut name, mut prefixes) = (Path::new(), None, vec![0]);
    let mut tokens = tree.iter().copied();
    while let Some(token) = tokens.next() {
        match token {
            "::" => {}
            "{" => {
                name = None;
                prefixes.push(path.len());
            }
            "," | "}" | ";" => {
                found.extend(name.take().map(|name| (name, path.clone())));
                if token == "}" {
                    prefixes.pop();
                }
                path.truncate(prefixes.last().copied().unwrap_or_default());
            }
            "as" => name = tokens.next().map(ToOwned::to_owned),
            "self" if !path.is_empty() => name = path.last().cloned(),
            _ => {
                name = Some(token.to_owned());
                path.push(token.to_owned());
            }
        }
    }
    found
}

/// A path from the root of the crate, if it starts at a known module.
fn absolute(path: Path, scope: &[String]) -> Path {
    let up = path.iter().take_while(|name| *name == "super").count();
    let (base, rest) = match path.first().map(String::as_str) {
        Some("self") => (scope, &path[1..]),
        Some("super") => (&scope[..scope.len().saturating_sub(up)], &path[up..]),
        _ => return path,
    };
    [&["crate".to_owned()], base, rest].concat()
}

/// Splits a text into words, `::` and single characters, without comments, literals and lifetimes.
fn tokens(mut text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    while let Some(first) = text.chars().next() {
        let end_of = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
        let (length, kept) = match first {
            '/' if text.starts_with("//") => (end_of("\n"), false),
            '/' if text.starts_with("/*") => (end_of("*/"), false),
            '"' => (quoted(text), false),
            '\'' => (character(text), false),
            ':' if text.starts_with("::") => (2, true),
            _ if is_word(text) => match raw(text) {
                Some(length) => (length, false),
                None => (word(text), true),
            },
            _ => (first.len_utf8(), !first.is_whitespace()),
        };
        let (token, rest) = text.split_at(length);
        tokens.extend(kept.then_some(token));
        text = rest;
    }
    tokens
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The length of the word that a text begins with.
fn word(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    end.unwrap_or(text.len())
}

/// The length of the literal in quotes that a text begins with.
fn quoted(text: &str) -> usize {
    let quote = text.chars().next();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if quote == Some(c) {
            return at + 1;
        }
    }
    text.len()
}

/// The length of the character or lifetime that a text begins with.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) | (_, Some((_, '\''))) => quoted(text),
        _ => 1 + word(&text[1..]),
    }
}

/// The length of the raw string that a text begins with, if it does.
fn raw(text: &str) -> Option<usize> {
    let hashes = text.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let inside = hashes.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(hashes.len() - inside.len()));
    let inside = inside.strip_prefix('"')?;
    let start = text.len() - inside.len();
    let length = inside.find(&end).map(|at| start + at + end.len());
    Some(length.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Source {
        Source::of(&["a".to_owned(), "b".to_owned()], text)
    }

    fn imports(text: &str) -> Vec<String> {
        let imports = read(text).imports.into_iter();
        let shown = imports.map(|it| format!("{}={}", it.name, it.path.join("::")));
        shown.collect()
    }

    fn paths(text: &str) -> Vec<String> {
        let paths = read(text).paths.into_iter();
        paths
            .map(|it| it.join("::"))
            .filter(|it| it.contains("::"))
            .collect()
    }

    #[test]
    fn a_use_tree_is_its_names() {
        let found = imports("use crate::{x::{self, Y as Z,}, w::W}; use self::c::*; use super::D;");
        let expected = [
            "x=crate::x",
            "Z=crate::x::Y",
            "W=crate::w::W",
            "*=crate::a::b::c::*",
            "D=crate::a::D",
        ];
        assert_eq!(found, expected);
        assert_eq!(imports("fn f<'a>() -> impl Fn() + use<'a> {}"), [""; 0]);
    }

    #[test]
    fn a_re_export_is_told_from_an_import() {
        let source = read("use c::C; pub use d::D; pub(crate) use e::E;");
        let public = source.imports.iter().map(|it| it.public);
        assert_eq!(public.collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn paths_are_found_in_code_alone() {
        let text = r##"
            // crate::comment::f()
            /* crate::comment::f() */
            fn f<'a>(it: &'a crate::T) -> super::U {
                let text = ("\"crate::text::f()", r#"" crate::text::f()"#, '"', '\'', b'"');
                c::f::<self::V>()
            }
        "##;
        let found = paths(text);
        assert_eq!(found, ["c::f", "crate::T", "crate::a::U", "crate::a::b::V"]);
    }

    #[test]
    fn inline_modules_are_scopes() {
        let text = "mod inline { fn f() { super::g() } } fn f() { super::h() }";
        assert_eq!(paths(text), ["crate::a::b::g", "crate::a::h"]);
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let text = "
            #[cfg(test)] use crate::{x::X, y};
            #[cfg(test)] mod helpers;
            #[cfg(test)] mod tests { use super::*; fn f() { crate::x::f() } }
            #[cfg(test)] fn f(a: [u8; 2]) { crate::x::f() }
            fn g() { crate::z::f() }";
        let source = read(text);
        assert_eq!(source.imports, []);
        let helpers = ["a", "b", "helpers"].map(ToOwned::to_owned);
        assert_eq!(source.test_modules, BTreeSet::from([helpers.to_vec()]));
        assert_eq!(paths(text), ["crate::z::f"]);
    }
}
